"""The verb `benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.group import verb_app
from harness.cli.inputs import declared_experiment, find_cluster, first_nodes
from harness.cli.options import (
    DEFAULT_EXPERIMENT,
    DEFAULT_RESULTS,
    DEFAULT_TELEMETRY_SECONDS,
    AskBecomePass,
    DryRun,
    Environment,
    ExperimentName,
    FirstNodes,
    Inventory,
    Quiet,
    Results,
    Settings,
)
from harness.cli.running.plan_table import print_plan
from harness.console import err, out
from harness.errors import EXIT_TRIALS_FAILED, BadInputError
from harness.experiment.declaration import parse_counts
from harness.launch.code import code_of
from harness.launch.limits import Limits
from harness.nodes.session import Session
from harness.sweep.admit import admit
from harness.sweep.benchmark import (
    benchmark_of,
    benchmark_of_work,
    has_batch,
    measured_rates,
    nominal_batch,
    usual_batches,
    write_rates,
)
from harness.sweep.execute import execute
from harness.sweep.options import Policy, RunOptions
from harness.sweep.prepare import prepare

app = verb_app()


@app.command()
def benchmark(
    experiment: ExperimentName = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    ask_become_pass: AskBecomePass = False,
    nodes: FirstNodes = None,
    settings: Settings = None,
    environment: Environment = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            "--batch-sizes", help="Two or more, e.g. 16,64,128.", show_default="a quarter, once, twice the batch"
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an epoch.")] = 20,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs that are measured, after one that is not.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", "-r", min=1, help="How often to run every batch size.")] = 2,
    results: Results = DEFAULT_RESULTS,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast each node trains by itself, all at the same time.

    The rates are what `sweep --batches-by-rate` shares batches by. A program without a batch size does all of its work on every
    node: make it small with --set.
    """
    declared = declared_experiment(experiment, None, None, settings, environment, None)
    cluster = find_cluster(inventory, ask_become_pass)
    batch = nominal_batch(declared)
    count = len(first_nodes(cluster, nodes))
    if has_batch(declared):
        sizes = _counts("--batch-sizes", batch_sizes) if batch_sizes else usual_batches(batch)
        measuring = benchmark_of(declared, count, sizes, steps, epochs, repeats)
    elif batch_sizes:
        raise BadInputError(f"--batch-sizes {batch_sizes}: {declared.program} has no batch size", "leave it out")
    else:
        measuring = benchmark_of_work(declared, count, repeats)
    if dry_run:
        print_plan(measuring, cluster, None, as_json=False)
        return
    options = RunOptions(Limits(), Policy(fail_fast=True), telemetry_seconds=DEFAULT_TELEMETRY_SECONDS, quiet=quiet)
    prepared = prepare(measuring, cluster, options, code_of(measuring.programs().values()))
    with Session(cluster) as session:
        run = execute(session, admit(session, prepared), results)
    paths = run.paths
    if run.statuses["failed"]:
        err.print(f"no rates: a trial failed, see {paths.root}", style="red", soft_wrap=True)
        raise typer.Exit(EXIT_TRIALS_FAILED)
    _print_rates(write_rates(paths, measuring, cluster, measured_rates(paths, measuring, cluster), batch))
    out.print(f"rates: {paths.rates}", soft_wrap=True)


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


def _counts(option: str, text: str) -> list[int]:
    try:
        return parse_counts(text)
    except ValueError as error:
        raise BadInputError(f"{option} {text}: {error}", "for example 16,64,128") from None
