"""The `harness` command: verbs only - parse, call, print."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from harness import __version__
from harness.agent import Code, ask
from harness.benchmark import (
    benchmark_of,
    load_rates,
    measured_rates,
    nominal_batch,
    unlike,
    usual_batches,
    write_rates,
)
from harness.console import err, out, print_error
from harness.errors import (
    EXIT_CHECK_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TRIALS_FAILED,
    BadInputError,
    HarnessError,
    NodeError,
)
from harness.experiment import Experiment, by_rate, load_experiment, parse_counts, with_overrides
from harness.inventory import Cluster, Node, load_cluster
from harness.launch_cli import launch_verb, logs, status_verb
from harness.launcher import Limits
from harness.paths import EXPERIMENTS, REPOSITORY
from harness.plan_table import print_plan
from harness.predict.command import predict
from harness.preflight import Finding, check_cluster
from harness.rates import Rates
from harness.run import Conduct, run_experiment
from harness.store import RunPaths, open_run
from harness.sweep import Policy
from harness.transport import Session, on_all
from harness.virtual.cli import app as cluster_app
from harness.virtual.state import default_inventory

app = typer.Typer(
    name="harness",
    help="Run kvstore-synchronised training at every cluster size and collect time and accuracy.\n\n"
    "Exit codes: 0 all well, 1 some trials failed, 2 bad arguments or input (nothing was started), 3 a check failed, "
    "4 a virtual cluster could not be brought up or down, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cluster_app, name="cluster")

Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        help="Ansible inventory.",
        envvar="HARNESS_INVENTORY",
        show_default="the virtual cluster's if one is up, else inventory/local",
    ),
]
DEFAULT_EXPERIMENT = EXPERIMENTS / "scaling.yaml"
ExperimentFile = Annotated[
    Path,
    typer.Argument(help="The experiment's YAML file.", metavar="[EXPERIMENT]", show_default="experiments/scaling.yaml"),
]
Nodes = Annotated[
    str | None, typer.Option("--nodes", "-n", help="Cluster sizes, e.g. 1-4 or 1,2,4.", show_default="the experiment's")
]
Repeats = Annotated[
    int | None, typer.Option("--repeats", "-r", help="How often to run every point.", show_default="the experiment's")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE[,VALUE...]", help="Set a parameter; several values sweep it."),
]
Environment = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set a rank's environment variable.")
]
Variants = Annotated[
    list[str] | None, typer.Option("--variant", help="Only this variant of the experiment (repeatable).")
]
RatesFile = Annotated[
    Path | None,
    typer.Option(
        "--batches-by-rate",
        metavar="RATES",
        help="Share each global batch by the nodes' speed: a `benchmark` run, or its rates.csv.",
        show_default="evenly",
    ),
]
RunDirectory = Annotated[
    Path, typer.Argument(help="A run directory, or an experiment's directory of runs.", metavar="RUN")
]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


@app.command()
def check(
    inventory: Inventory = None,
    nodes: Annotated[int | None, typer.Option("--nodes", "-n", help="Only the first so many nodes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Look at every node: SSH and host key, clock, memory, disk, runtime, and the network between all pairs."""
    cluster = _cluster(inventory)
    with Session(cluster) as session:
        findings = check_cluster(session, cluster, _first(cluster, nodes), Code.of(EXPERIMENTS))
    if as_json:
        sys.stdout.write(json.dumps([vars(finding) for finding in findings], indent=2) + "\n")
    else:
        _print_findings(findings)
    if any(finding.level == "failed" for finding in findings):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command()
def plan(
    experiment: ExperimentFile = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    nodes: Nodes = None,
    repeats: Repeats = None,
    settings: Settings = None,
    environment: Environment = None,
    variant: Variants = None,
    batches_by_rate: RatesFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show the trials and where each rank goes; nothing is run, no node is contacted."""
    declared = _experiment(experiment, nodes, repeats, settings, environment, variant)
    declared, rates = _rates(batches_by_rate, declared)
    print_plan(declared, _cluster(inventory), rates, as_json=as_json)


@app.command()
def sweep(
    experiment: ExperimentFile = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    nodes: Nodes = None,
    repeats: Repeats = None,
    settings: Settings = None,
    environment: Environment = None,
    variant: Variants = None,
    batches_by_rate: RatesFile = None,
    results: Annotated[Path, typer.Option("--results", "-o", help="Where run directories go.")] = Path("results"),
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Run only what is missing of an earlier run.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Like `plan`.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="Try a failed trial again so often.")] = 0,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast/--keep-going", help="Stop at the first failed trial.")
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Seconds a trial may take.", show_default="none")
    ] = None,
    start_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds until every worker must be ready.")
    ] = Limits.start,
    stall_timeout: Annotated[float, typer.Option(min=1, help="Seconds a worker may make no progress.")] = Limits.stall
    or 120,
    telemetry: Annotated[
        float, typer.Option(min=0, help="Seconds between samples of a node's health; 0 for none.")
    ] = 5,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only warnings, failures and the summary.")
    ] = False,
) -> None:
    """Run an experiment at every point of its axes and collect time and accuracy."""
    declared = _experiment(experiment, nodes, repeats, settings, environment, variant)
    declared, rates = _rates(batches_by_rate, declared)
    cluster = _cluster(inventory)
    if dry_run:
        print_plan(declared, cluster, rates, as_json=False)
        return
    limits = Limits(start=start_timeout, stall=stall_timeout, time=time_limit)
    conduct = Conduct(limits, Policy(retries, fail_fast), telemetry, quiet)
    paths, statuses = run_experiment(declared, cluster, results, conduct, resume=resume, rates=rates)
    _report(paths)
    if statuses["failed"]:
        raise typer.Exit(EXIT_TRIALS_FAILED)


@app.command()
def benchmark(
    experiment: Annotated[
        Path, typer.Argument(help="The experiment whose program is measured.", metavar="EXPERIMENT")
    ] = EXPERIMENTS / "lenet_scaling.yaml",
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
    results: Annotated[Path, typer.Option("--results", "-o", help="Where run directories go.")] = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the trials and run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings, failures and the rates.")] = False,
) -> None:
    """Measure how fast each node trains by itself, all at the same time: what `sweep --batches-by-rate` goes by."""
    declared = _experiment(experiment, None, None, settings, environment, None)
    cluster = _cluster(inventory)
    batch = nominal_batch(declared)
    sizes = _counts("--batch-sizes", batch_sizes) if batch_sizes else usual_batches(batch)
    measuring = benchmark_of(declared, len(_first(cluster, nodes)), sizes, steps, epochs)
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


@app.command()
def report(run: RunDirectory) -> None:
    """Make report.html and the figures of a run again, from its CSVs and manifest alone."""
    _report(open_run(run))


@app.command()
def clean(
    inventory: Inventory = None,
    force: Annotated[bool, typer.Option("--force", help="Also where a running harness holds a node.")] = False,
) -> None:
    """Stop and remove whatever earlier runs left on the nodes; only units and directories of ours are touched."""
    cluster = _cluster(inventory)
    code = Code.of(EXPERIMENTS)
    failed = False
    with Session(cluster) as session:

        def clean_node(node: Node) -> dict[str, Any]:
            transport = session.to(node)
            code.send(transport)
            return ask(transport, code.hash, "clean", keep_code=code.hash, force=force)

        for node, answer in on_all(cluster.nodes, clean_node):
            if isinstance(answer, NodeError):
                print_error(answer)
                failed = True
                continue
            stopped = ", ".join(answer["stopped"]) or "nothing was running"
            out.print(f"{node.name}: {stopped}; {answer['freed_bytes'] / 1e6:.1f} MB freed", markup=False)
            failed = failed or bool(answer["left"])
    if failed:
        raise typer.Exit(EXIT_CHECK_FAILED)


def _cluster(inventory: Path | None) -> Cluster:
    return load_cluster(inventory or default_inventory() or REPOSITORY / "inventory" / "local")


def _experiment(
    path: Path,
    nodes: str | None,
    repeats: int | None,
    settings: list[str] | None,
    environment: list[str] | None,
    variants: list[str] | None,
) -> Experiment:
    return with_overrides(
        load_experiment(path),
        nodes=nodes,
        repeats=repeats,
        settings=settings or (),
        environment=environment or (),
        variants=variants or (),
    )


def _counts(option: str, text: str) -> list[int]:
    try:
        return parse_counts(text)
    except ValueError as error:
        raise BadInputError(f"{option} {text}: {error}") from None


def _first(cluster: Cluster, count: int | None) -> tuple[Node, ...]:
    return cluster.nodes if count is None else cluster.first(count)


def _report(paths: RunPaths) -> None:
    # The plotting libraries take a second to load; only a report needs them.
    from harness.report import make_report, summary  # noqa: PLC0415

    make_report(paths)
    out.print(summary(paths))
    out.print(f"report: {paths.report}", markup=False, soft_wrap=True)


def _print_findings(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "what", "", "detail"):
        table.add_column(heading, overflow="fold")
    colours = {"ok": "green", "warning": "yellow", "failed": "red"}
    for finding in findings:
        detail = f"{finding.detail}\ntry: {finding.remedy}" if finding.remedy else finding.detail
        table.add_row(finding.node, finding.what, f"[{colours[finding.level]}]{finding.level}[/]", detail)
    out.print(table)
    failed = sum(finding.level == "failed" for finding in findings)
    warned = sum(finding.level == "warning" for finding in findings)
    out.print(f"{len(findings)} findings: {failed} failed, {warned} warnings")


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


def _rates(path: Path | None, declared: Experiment) -> tuple[Experiment, Rates | None]:
    """The experiment with batches by the rates of `path`, and these rates; unchanged, and none, where there is no path."""
    if path is None:
        return declared, None
    rates = load_rates(path)
    if other := unlike(rates, declared):
        err.print(f"warning: the rates are those of {other}", style="yellow", markup=False, soft_wrap=True)
    return by_rate(declared), rates


app.command("predict")(predict)
app.command("launch", context_settings={"allow_extra_args": True, "ignore_unknown_options": False})(
    launch_verb(_cluster)
)
app.command("status")(status_verb(_cluster))
app.command("logs")(logs)


class _InterruptedError(BaseException):
    """SIGINT, SIGTERM or SIGHUP; the CLI library would turn KeyboardInterrupt into an exit code of its own."""


def _interrupt(*_: object) -> None:
    """The first time, unwind: whatever runs is stopped on the way. The second time, end at once."""
    for number in _INTERRUPTS:
        signal.signal(number, _end_at_once)
    raise _InterruptedError


def _end_at_once(*_: object) -> NoReturn:
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{show_cursor}\ninterrupted twice: the nodes end what is left within {Limits.lease:.0f} s\n".encode())
    os._exit(EXIT_INTERRUPTED)


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Entry point: every foreseen error ends in two lines on stderr and its exit code."""
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        app()
    except HarnessError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except _InterruptedError:
        err.print("interrupted", style="yellow")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os._exit(EXIT_OK)


if __name__ == "__main__":
    main()
