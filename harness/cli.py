"""The `harness` command: verbs only - parse, call, print."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from harness import __version__
from harness.agent import Code, ask
from harness.benchmark_cli import benchmark, with_rates
from harness.cli_options import (
    DEFAULT_EXPERIMENT,
    Environment,
    ExperimentFile,
    Inventory,
    Nodes,
    RatesFile,
    Repeats,
    RunDirectory,
    Settings,
    Variants,
    declared_experiment,
    find_cluster,
    first_nodes,
)
from harness.console import err, out, print_error
from harness.errors import (
    EXIT_CHECK_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TRIALS_FAILED,
    HarnessError,
    NodeError,
)
from harness.inventory import Node
from harness.launch_cli import launch_verb, logs, status_verb
from harness.launcher import Limits
from harness.paths import EXPERIMENTS
from harness.plan_table import print_plan
from harness.predict.command import predict
from harness.preflight import Finding, check_cluster
from harness.run import Conduct, run_experiment
from harness.store import RunPaths, open_run
from harness.sweep import Policy
from harness.transport import Session, on_all
from harness.virtual.cli import app as cluster_app

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
    cluster = find_cluster(inventory)
    with Session(cluster) as session:
        findings = check_cluster(session, cluster, first_nodes(cluster, nodes), Code.of(EXPERIMENTS))
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
    declared = declared_experiment(experiment, nodes, repeats, settings, environment, variant)
    declared, rates = with_rates(batches_by_rate, declared)
    print_plan(declared, find_cluster(inventory), rates, as_json=as_json)


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
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Keep a checkpoint of every epoch; trials that failed (--retries) or were cut (--resume) go on from it.",
        ),
    ] = False,
    recover_workers: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Start an attempt's ranks again in place, from the last epoch, when a worker died."
        ),
    ] = 0,
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
    declared = declared_experiment(experiment, nodes, repeats, settings, environment, variant)
    declared, rates = with_rates(batches_by_rate, declared)
    cluster = find_cluster(inventory)
    if dry_run:
        print_plan(declared, cluster, rates, as_json=False)
        return
    limits = Limits(start=start_timeout, stall=stall_timeout, time=time_limit)
    conduct = Conduct(limits, Policy(retries, fail_fast, go_on, recover_workers), telemetry, quiet)
    paths, statuses = run_experiment(declared, cluster, results, conduct, resume=resume, rates=rates)
    _report(paths)
    if statuses["failed"]:
        raise typer.Exit(EXIT_TRIALS_FAILED)


@app.command()
def report(
    run: RunDirectory,
    target: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Validation accuracy that time is measured to.",
            show_default="0.97, or what all reached",
        ),
    ] = None,
) -> None:
    """Make report.html and the figures of a run again, from its CSVs and manifest alone."""
    _report(open_run(run), target)


@app.command()
def clean(
    inventory: Inventory = None,
    force: Annotated[bool, typer.Option("--force", help="Also where a running harness holds a node.")] = False,
) -> None:
    """Stop and remove whatever earlier runs left on the nodes; only units and directories of ours are touched."""
    cluster = find_cluster(inventory)
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


def _report(paths: RunPaths, target: float | None = None) -> None:
    # The plotting libraries take a second to load; only a report needs them.
    from harness.report import make_report, summary  # noqa: PLC0415

    make_report(paths, target)
    out.print(summary(paths, target))
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


app.command("benchmark")(benchmark)
app.command("predict")(predict)
app.command("launch", context_settings={"allow_extra_args": True, "ignore_unknown_options": False})(
    launch_verb(find_cluster)
)
app.command("status")(status_verb(find_cluster))
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
