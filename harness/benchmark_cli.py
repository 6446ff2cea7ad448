"""The verb benchmark, and what sweep and plan make of its rates: parse, call, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.benchmark import (
    benchmark_of,
    load_rates,
    measured_rates,
    nominal_batch,
    unlike,
    usual_batches,
    write_rates,
)
from harness.cli_options import (
    DEFAULT_EXPERIMENT,
    Environment,
    ExperimentFile,
    Inventory,
    Settings,
    declared_experiment,
    find_cluster,
    first_nodes,
)
from harness.console import err, out
from harness.errors import EXIT_TRIALS_FAILED, BadInputError
from harness.experiment import Experiment, by_rate, parse_counts
from harness.launcher import Limits
from harness.plan_table import print_plan
from harness.rates import Rates
from harness.run import Conduct, run_experiment
from harness.sweep import Policy


def benchmark(
    experiment: ExperimentFile = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", "-n", min=1, help="Only the first so many nodes.", show_default="all")
    ] = None,
    settings: Settings = None,
    environment: Environment = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            "--batch-sizes", help="Two or more, e.g. 16,64,128.", show_default="a quarter, once, twice the batch"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an epoch.")] = 20,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs that are measured; one more goes before.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", "-r", min=1, help="Turns of all batch sizes.")] = 2,
    results: Annotated[Path, typer.Option("--results", "-o", help="Where run directories go.")] = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the trials and run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings, failures and the rates.")] = False,
) -> None:
    """Measure how fast each node trains by itself, all at the same time: what `sweep --batches-by-rate` goes by."""
    declared = declared_experiment(experiment, None, None, settings, environment, None)
    cluster = find_cluster(inventory)
    batch = nominal_batch(declared)
    sizes = _counts("--batch-sizes", batch_sizes) if batch_sizes else usual_batches(batch)
    measuring = benchmark_of(declared, len(first_nodes(cluster, nodes)), sizes, steps, epochs, repeats)
    if dry_run:
        print_plan(measuring, cluster, None, as_json=False)
        return
    conduct = Conduct(Limits(), Policy(fail_fast=True), telemetry_seconds=5, quiet=quiet)
    paths, statuses = run_experiment(measuring, cluster, results, conduct)
    if statuses["failed"]:
        err.print(f"no rates: a trial failed, see {paths.root}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_TRIALS_FAILED)
    _print_rates(write_rates(paths, measuring, cluster, measured_rates(paths, measuring, cluster), batch))
    out.print(f"rates: {paths.rates}", markup=False, soft_wrap=True)


def _print_rates(rows: Sequence[Mapping[str, str | float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "images/s", "ms per image", "ms fixed", "share"):
        table.add_column(heading, justify="left" if heading == "node" else "right")
    for row in rows:
        speed, image, fixed = (
            f"{row[name]:.3g}" for name in ("images_per_second", "image_milliseconds", "fixed_milliseconds")
        )
        table.add_row(str(row["node"]), speed, image, fixed, f"{row['share']:.1%}")
    out.print(table)


def with_rates(path: Path | None, declared: Experiment) -> tuple[Experiment, Rates | None]:
    """The experiment with batches by the rates of `path`, and these rates; unchanged, and none, where there is no path."""
    if path is None:
        return declared, None
    rates = load_rates(path)
    if other := unlike(rates, declared):
        err.print(f"warning: the rates are those of {other}", style="yellow", markup=False, soft_wrap=True)
    return by_rate(declared), rates


def _counts(option: str, text: str) -> list[int]:
    try:
        return parse_counts(text)
    except ValueError as error:
        raise BadInputError(f"{option} {text}: {error}") from None
