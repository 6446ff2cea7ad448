"""The verb `sweep`."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.inputs import declared_experiment, find_cluster, find_metering, sizes_that_fit
from harness.cli.options import (
    DEFAULT_EXPERIMENT,
    DEFAULT_IDLE_SECONDS,
    DEFAULT_POWER_SECONDS,
    DEFAULT_RESULTS,
    DEFAULT_TELEMETRY_SECONDS,
    AskBecomePass,
    Dashboard,
    DryRun,
    Environment,
    ExperimentName,
    IdleSeconds,
    Inventory,
    KwhPrice,
    LivePort,
    NoStallTimeout,
    OpenBrowser,
    PowerMeters,
    PowerSeconds,
    Quiet,
    RatesFile,
    Repeats,
    Results,
    Settings,
    Sizes,
    StallTimeout,
    StartTimeout,
    Telemetry,
    TimeLimit,
    Variants,
)
from harness.cli.results.report import report_on
from harness.cli.running.plan_table import print_plan
from harness.cli.running.rates import with_rates
from harness.errors import EXIT_TRIALS_FAILED, BadInputError
from harness.experiment.overrides import with_dashboard
from harness.launch.code import code_of
from harness.launch.limits import SILENT_SECONDS, Limits
from harness.nodes.session import Session
from harness.results.earlier_run import open_earlier_run
from harness.results.run_paths import RunPaths
from harness.sweep.admit import admit
from harness.sweep.execute import execute
from harness.sweep.options import Policy, RunOptions
from harness.sweep.prepare import prepare

app = verb_app()


@app.command()
def sweep(
    experiment: ExperimentName = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    ask_become_pass: AskBecomePass = False,
    nodes: Sizes = None,
    repeats: Repeats = None,
    settings: Settings = None,
    environment: Environment = None,
    variant: Variants = None,
    batches_by_rate: RatesFile = None,
    results: Results = DEFAULT_RESULTS,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Run only what is missing of an earlier run.")
    ] = None,
    dry_run: DryRun = False,
    retries: Annotated[int, typer.Option(min=0, max=100, help="How often to try a failed trial again.")] = 0,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Keep a checkpoint of every epoch. Trials that failed (--retries) or were interrupted (--resume) "
            "continue from it.",
        ),
    ] = False,
    recover_workers: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            metavar="N",
            help="When a worker dies, restart the ranks in place from the last epoch, at most N times a trial.",
        ),
    ] = 0,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast/--keep-going", help="Stop at the first failed trial.")
    ] = False,
    time_limit: TimeLimit = None,
    start_timeout: StartTimeout = Limits.start,
    stall_timeout: StallTimeout = Limits.stall,
    no_stall_timeout: NoStallTimeout = False,
    telemetry: Telemetry = DEFAULT_TELEMETRY_SECONDS,
    power_meter: PowerMeters = None,
    power_seconds: PowerSeconds = DEFAULT_POWER_SECONDS,
    idle_seconds: IdleSeconds = DEFAULT_IDLE_SECONDS,
    kwh_price: KwhPrice = None,
    live: Annotated[
        bool, typer.Option("--live", help="Show the run on a page on this machine's loopback while it goes on.")
    ] = False,
    port: LivePort = None,
    open_browser: OpenBrowser = False,
    dashboard: Dashboard = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment at every point of its axes and collect time and accuracy.

    Sizes larger than the cluster are left out unless --nodes names them.
    """
    if not live and (port is not None or open_browser):
        raise BadInputError("--port and --open are of the live page", "give --live too")
    declared = declared_experiment(experiment, nodes, repeats, settings, environment, variant)
    if dashboard:
        declared = with_dashboard(declared)
    cluster = find_cluster(inventory, ask_become_pass)
    metering = find_metering(cluster, power_meter, idle_seconds, power_seconds)
    declared, rates = with_rates(batches_by_rate, sizes_that_fit(declared, cluster, nodes))
    if dry_run:
        print_plan(declared, cluster, rates, as_json=False)
        return
    stall = math.inf if no_stall_timeout else stall_timeout
    limits = Limits(start=start_timeout, stall=stall, silent=SILENT_SECONDS, time=time_limit)
    options = RunOptions(limits, Policy(retries, fail_fast, go_on, recover_workers), telemetry, quiet, metering)
    earlier = open_earlier_run(resume) if resume else None
    prepared = prepare(declared, cluster, options, code_of(declared.programs().values()), rates=rates, earlier=earlier)
    with _page(port, open_browser) if live else nullcontext(None) as show:
        with Session(cluster) as session:
            run = execute(session, admit(session, prepared), results, show)
        report_on(run.paths, kwh_price=kwh_price)
    if run.statuses["failed"]:
        raise typer.Exit(EXIT_TRIALS_FAILED)


def _page(port: int | None, open_browser: bool) -> AbstractContextManager[Callable[[RunPaths], None]]:
    from harness.cli.live_page import live_page  # noqa: PLC0415 - few sweeps need it

    return live_page(port, open_browser)
