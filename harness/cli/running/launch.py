"""The verb `launch`."""

from __future__ import annotations

import math
import secrets
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.check.preflight import Preflight, probe_nodes, require
from harness.cli.group import verb_app
from harness.cli.inputs import find_cluster, told_environment
from harness.cli.options import (
    DEFAULT_RESULTS,
    DEFAULT_TELEMETRY_SECONDS,
    MOST_NODES,
    AskBecomePass,
    Inventory,
    NoStallTimeout,
    Results,
    StallTimeout,
    StartTimeout,
    Telemetry,
    TimeLimit,
)
from harness.console import err
from harness.contract import wire
from harness.contract.events import Event, LineSplitter
from harness.errors import EXIT_TRIALS_FAILED, BadInputError, NodeError
from harness.experiment.program import FrameworkName
from harness.launch.code import packaged_code
from harness.launch.hold import Hold
from harness.launch.job import JOB, Job, make_job, read_hostfile
from harness.launch.launcher import Launcher, Outcome
from harness.launch.limits import SILENT_SECONDS, Limits
from harness.launch.placement import Placement, Rank
from harness.nodes.agent import Code, ask, in_homes
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session, on_all
from harness.results.dilation import undilated_outcome, undilated_sample
from harness.results.opening import run_paths
from harness.results.redaction import kept, kept_words
from harness.results.rows import TrialHistory, rank_rows, telemetry_row, timestamp, trial_row
from harness.results.run_directory import RunDirectory

app = verb_app()


class _Printer:
    """Shows every rank's lines as they come, and keeps them."""

    def __init__(self, store: RunDirectory, placement: Placement, dilation: float, quiet: bool) -> None:
        self._store = store
        self._trial = placement.trial
        self._dilation = dilation
        self._quiet = quiet
        self._splitters = {rank.name: LineSplitter() for rank in placement.ranks}

    def output(self, rank: Rank, data: bytes) -> None:
        self._store.log(JOB, rank.name, data)
        self._print(rank.name, self._splitters[rank.name].feed(data))

    def event(self, rank: Rank, event: Event) -> None:
        now = timestamp(datetime.now(UTC))
        record = {"time": now, "role": rank.name, "node": rank.node.name, "event": event.kind, **event.values}
        self._store.event(JOB, record)

    def file(self, rank: Rank, name: str, data: bytes) -> None:
        """Programs of the user's own declare no files."""

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        sample = undilated_sample(sample, self._dilation)
        self._store.telemetry(telemetry_row(self._trial, node.name, sample, datetime.now(UTC)))

    def warning(self, text: str) -> None:
        err.print(f"warning: {text}", style="yellow", soft_wrap=True)

    def finish(self) -> None:
        """Print lines that have no end."""
        for name, splitter in self._splitters.items():
            self._print(name, splitter.flush())

    def _print(self, name: str, lines: list[str]) -> None:
        if not self._quiet and lines:
            sys.stdout.write("".join(f"{name}: {line}\n" for line in lines))
            sys.stdout.flush()


def launch_job(
    cluster: Cluster, job: Job, results: Path, limits: Limits, *, directory: str | None, telemetry: float, quiet: bool
) -> Outcome:
    """Run a job on a cluster and keep what it says in `results`/launch/. Raises HarnessError where it cannot start."""
    agent, code = packaged_code(), job.code()
    moment = datetime.now(UTC)
    paths = run_paths(results, "launch", moment)
    run = paths.root.name
    nodes = cluster.first(min(job.workers, len(cluster.nodes)))
    with Session(cluster) as session:
        nodes = in_homes(session, nodes)
        preflight = probe_nodes(session, nodes, agent)
        require(preflight, [], cluster, run, needs_runtime=False)
        where = _send(session, nodes, agent, code, run, directory)
        with Hold(session, nodes, agent.hash, run) as hold:
            told_of = tuple(map(preflight.completed, nodes))
            placement = job.placed(told_of, cluster.port, secrets.token_hex(16), where, _runtimes(preflight))
            roles = list(dict.fromkeys(rank.role for rank in placement.ranks))
            store = RunDirectory.new(paths, _manifest(job, cluster, placement, moment), [], roles)
            try:
                err.print(f"{paths.root}: {', '.join(rank.name for rank in placement.ranks)}")
                printer = _Printer(store, placement, cluster.time_dilation, quiet)
                store.begin(JOB)
                launcher = Launcher(session, agent.hash, run, limits, telemetry, hold.check)
                told = launcher.run(placement, printer, expects_events=False, directories=where)
                outcome = undilated_outcome(told, cluster.time_dilation)
                printer.finish()
                for row in rank_rows(placement, outcome):
                    store.rank(row)
                stood = ["the harness itself stood still meanwhile"] if outcome.stood_still_seconds else []
                store.finish(
                    JOB, trial_row(placement, outcome, [], TrialHistory(), stood),
                    {"failure": str(outcome.failure or ""), "warnings": outcome.warnings},
                )  # fmt: skip
            finally:
                store.close()
    return outcome


def _send(
    session: Session, nodes: tuple[Node, ...], agent: Code, code: Code, run: str, directory: str | None
) -> dict[str, str]:
    """Bring the program to all nodes, and copy it to where its ranks work; where that is, by node. Raises NodeError."""

    def send(node: Node) -> str:
        code.send(session.to(node))
        target = directory or f"{node.root}/{wire.JOBS_DIRECTORY}/{run}/{node.name}"
        return str(ask(session.to(node), agent.hash, wire.COPY, source=code.hash, target=target)["target"])

    where = {}
    for node, answer in on_all(nodes, send, code.limits(nodes)):
        if isinstance(answer, NodeError):
            raise answer
        where[node.name] = answer
    return where


def _runtimes(preflight: Preflight) -> dict[str, bool]:
    return {probed.node.name: probed.answer["runtime"] is not None for probed in preflight.probed}


def _manifest(job: Job, cluster: Cluster, placement: Placement, moment: datetime) -> dict[str, object]:
    return {
        "started_at": timestamp(moment),
        "command": shlex.join(kept_words(job.command)),
        "environment": kept(job.environment),
        "cluster": {
            "kind": cluster.kind,
            "inventory": str(cluster.inventory),
            "time_dilation": cluster.time_dilation,
        },
        "placement": {rank.name: rank.node.name for rank in placement.ranks},
    }


@app.command(
    options_metavar="[OPTIONS] -- COMMAND...",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": False},
)
def launch(
    context: typer.Context,
    workers: Annotated[
        int,
        typer.Option(
            "-n", "--num-workers", min=1, max=MOST_NODES, help="How many workers, one a node; more share nodes."
        ),
    ],
    framework: Annotated[
        FrameworkName, typer.Option(help="Whose environment variables the ranks get, beside HARNESS_RANK and its like.")
    ] = "mxnet",
    servers: Annotated[
        int | None,
        typer.Option(
            "-s", "--num-servers", min=0, max=MOST_NODES, help="Server processes (mxnet).", show_default="as workers"
        ),
    ] = None,
    inventory: Inventory = None,
    ask_become_pass: AskBecomePass = False,
    hostfile: Annotated[
        Path | None, typer.Option("-H", "--hostfile", help="A file with a host a line, instead of an inventory.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME[=VALUE]", help="For every rank; NAME alone takes the value it has here."),
    ] = None,
    sync_dst_dir: Annotated[
        str | None, typer.Option(help="Copy the program's directory to this one on the nodes, and run there.")
    ] = None,
    launcher: Annotated[str, typer.Option(help="For MXNet's launcher's sake; only ssh is known.")] = "ssh",
    results: Results = DEFAULT_RESULTS,
    time_limit: TimeLimit = None,
    start_timeout: StartTimeout = Limits.start,
    stall_timeout: StallTimeout = Limits.stall,
    no_stall_timeout: NoStallTimeout = False,
    telemetry: Telemetry = DEFAULT_TELEMETRY_SECONDS,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Keep the ranks' output, do not print it.")] = False,
) -> None:
    """Run any distributed program: harness launch -n 4 -- python train.py --its --args.

    Takes the options of MXNet's tools/launch.py. `python` is the nodes' runtime; the program's directory is sent.
    Exit codes: 0 every worker ended well, 1 one failed (and all were stopped), 2 nothing was started, 130 interrupted.
    """
    if launcher != "ssh":
        raise BadInputError(f"--launcher {launcher} is not known", "name the nodes with -i or -H")
    typed = context.get_parameter_source("inventory")
    if hostfile and typed is not None and typed.name == "COMMANDLINE":
        raise BadInputError("-H and -i both name nodes", "give one of them")
    if hostfile and ask_become_pass:
        raise BadInputError("-K: nothing runs by sudo on the hosts of a hostfile", "leave it out")
    job = make_job(context.args, workers, servers, told_environment(env), framework)
    if kept_words(job.command) != list(job.command):
        err.print(
            "warning: every user of a node sees the secret in the command: have the program read it from its environment, "
            "and give --env NAME",
            style="yellow",
            soft_wrap=True,
        )
    if hostfile:
        err.print(f"hostfile: {hostfile}", soft_wrap=True)
    cluster = read_hostfile(hostfile) if hostfile else find_cluster(inventory, ask_become_pass)
    stall = math.inf if no_stall_timeout else stall_timeout
    limits = Limits(start=start_timeout, stall=stall, silent=SILENT_SECONDS, time=time_limit)
    outcome = launch_job(cluster, job, results, limits, directory=sync_dst_dir, telemetry=telemetry, quiet=quiet)
    for line in outcome.failure.last_lines[-5:] if outcome.failure else ():
        err.print(f"    | {line}")
    text = f"failed: {outcome.failure}" if outcome.failure else f"ok: {outcome.total_seconds:.1f} s"
    err.print(text, style="red" if outcome.failure else "green", soft_wrap=True)
    if outcome.failure:
        raise typer.Exit(EXIT_TRIALS_FAILED)
