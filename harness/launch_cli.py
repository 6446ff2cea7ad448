"""Verbs around single jobs: launch, status, logs - parse, call, print."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.agent import Code, ask
from harness.console import err, out
from harness.dilation import undilated_outcome, undilated_sample
from harness.disk import write_json
from harness.errors import EXIT_CHECK_FAILED, EXIT_TRIALS_FAILED, BadInputError, NodeError
from harness.events import Event, LineSplitter
from harness.hold import Hold, describe_holder
from harness.inventory import Cluster, Node
from harness.launch_job import JOB, Job, make_job, read_hostfile
from harness.launcher import Launcher, Limits, Outcome
from harness.paths import EXPERIMENTS
from harness.placement import Placement, Rank
from harness.preflight import Preflight, probe_nodes, require
from harness.redaction import kept, kept_words
from harness.rows import Course, rank_rows, telemetry_row, timestamp, trial_row
from harness.store import RunStore, follow_log, new_run, open_run, run_name
from harness.transport import Session, on_all

ClusterOf = Callable[[Path | None], Cluster]


class _Printer:
    """Shows every rank's lines as they come, and keeps them."""

    def __init__(self, store: RunStore, placement: Placement, dilation: float, quiet: bool) -> None:
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

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        sample = undilated_sample(sample, self._dilation)
        self._store.telemetry(telemetry_row(self._trial, node.name, sample, datetime.now(UTC)))

    def warning(self, text: str) -> None:
        err.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)

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
    agent, code = Code.of(EXPERIMENTS), job.code()
    moment = datetime.now(UTC)
    run = run_name(moment)
    nodes = cluster.first(min(job.workers, len(cluster.nodes)))
    with Session(cluster) as session:
        preflight = probe_nodes(session, nodes, agent)
        require(preflight, [], cluster, run, needs_runtime=False)
        where = _send(session, nodes, agent, code, directory)
        with Hold(session, nodes, agent.hash, run):
            paths = new_run(results, "launch", run)
            store = RunStore(paths, [])
            try:
                placement = job.placed(nodes, cluster.port, secrets.token_hex(16), where, _runtimes(preflight))
                write_json(paths.manifest, _manifest(job, cluster, placement, moment))
                err.print(f"{paths.root}: {', '.join(rank.name for rank in placement.ranks)}", markup=False)
                printer = _Printer(store, placement, cluster.time_dilation, quiet)
                store.begin(JOB)
                launcher = Launcher(session, agent.hash, run, limits, telemetry)
                told = launcher.run(placement, printer, expects_events=False, directories=where)
                outcome = undilated_outcome(told, cluster.time_dilation)
                printer.finish()
                for row in rank_rows(placement, outcome):
                    store.rank(row)
                store.finish(
                    JOB, trial_row(placement, outcome, [], Course(), False),
                    {"failure": str(outcome.failure or ""), "warnings": outcome.warnings},
                )  # fmt: skip
            finally:
                store.close()
    return outcome


def _send(session: Session, nodes: tuple[Node, ...], agent: Code, code: Code, directory: str | None) -> dict[str, str]:
    """Bring the program to all nodes; where it is, by node. Raises NodeError."""

    def send(node: Node) -> str:
        code.send(session.to(node))
        if not directory:
            return f"{node.root}/code/{code.hash}"
        return str(ask(session.to(node), agent.hash, "copy", source=code.hash, target=directory)["target"])

    where = {}
    for node, answer in on_all(nodes, send):
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


def launch_verb(cluster_of: ClusterOf) -> Callable[..., None]:
    """The verb `launch`, on inventories as `cluster_of` finds them."""

    def launch(
        context: typer.Context,
        workers: Annotated[int, typer.Option("-n", "--num-workers", min=1, help="Worker processes.")],
        servers: Annotated[
            int | None, typer.Option("-s", "--num-servers", min=0, help="Server processes.", show_default="as workers")
        ] = None,
        inventory: Annotated[
            Path | None, typer.Option("-i", "--inventory", envvar="HARNESS_INVENTORY", help="Ansible inventory.")
        ] = None,
        hostfile: Annotated[
            Path | None, typer.Option("-H", "--hostfile", help="A host a line, instead of an inventory.")
        ] = None,
        env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="For every rank.")] = None,
        sync_dst_dir: Annotated[
            str | None, typer.Option(help="Copy the program's directory to this one on the nodes, and run there.")
        ] = None,
        launcher: Annotated[str, typer.Option(help="As MXNet's launcher has it; only ssh is known.")] = "ssh",
        results: Annotated[Path, typer.Option("--results", "-o", help="Where run directories go.")] = Path("results"),
        time_limit: Annotated[float | None, typer.Option(min=1, help="Seconds.", show_default="none")] = None,
        stall_timeout: Annotated[
            float | None, typer.Option(min=1, help="Seconds a worker may be silent.", show_default="none")
        ] = None,
        telemetry: Annotated[float, typer.Option(min=0, help="Seconds between samples of a node's health.")] = 5,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Keep the ranks' output, do not print it.")] = False,
    ) -> None:
        """Run any kvstore program: harness launch -n 4 -- python train.py --its --args.

        Takes the options of MXNet's tools/launch.py. `python` is the nodes' runtime; the program's directory is sent.
        Exit codes: 0 every worker ended well, 1 one failed (and all were stopped), 2 nothing was started, 130 interrupted.
        """
        if launcher != "ssh":
            raise BadInputError(f"--launcher {launcher} is not known", "name the nodes with -i or -H")
        typed = context.get_parameter_source("inventory")
        if hostfile and typed is not None and typed.name == "COMMANDLINE":
            raise BadInputError("-H and -i both name nodes", "give one of them")
        job = make_job(context.args, workers, servers, env or ())
        cluster = read_hostfile(hostfile) if hostfile else cluster_of(inventory)
        limits = Limits(stall=stall_timeout, time=time_limit)
        outcome = launch_job(
            cluster, job, results, limits, directory=sync_dst_dir, telemetry=telemetry, quiet=quiet
        )  # fmt: skip
        for line in outcome.failure.last_lines[-5:] if outcome.failure else ():
            err.print(f"    | {line}", markup=False)
        text = f"failed: {outcome.failure}" if outcome.failure else f"ok: {outcome.total_seconds:.1f} s"
        err.print(text, style="red" if outcome.failure else "green", markup=False, soft_wrap=True)
        if outcome.failure:
            raise typer.Exit(EXIT_TRIALS_FAILED)

    return launch


def status_verb(cluster_of: ClusterOf) -> Callable[..., None]:
    """The verb `status`."""

    def status(
        inventory: Annotated[
            Path | None, typer.Option("-i", "--inventory", envvar="HARNESS_INVENTORY", help="Ansible inventory.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    ) -> None:
        """Show what runs on every node, who holds it, and what earlier runs left there."""
        cluster = cluster_of(inventory)
        code = Code.of(EXPERIMENTS)
        rows = []
        with Session(cluster) as session:

            def look(node: Node) -> dict[str, object]:
                code.send(session.to(node))
                return ask(session.to(node), code.hash, "probe")

            for node, answer in on_all(cluster.nodes, look):
                unreachable = isinstance(answer, NodeError)
                rows.append(
                    {
                        "node": node.name,
                        "error": answer.message if unreachable else None,
                        "held": None if unreachable else answer["held"],
                        "running": [] if unreachable else answer["running"],
                        "left_bytes": None if unreachable else answer["trials_bytes"],
                    }
                )
        if as_json:
            sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        else:
            out.print(_status_table(rows))
        if any(row["error"] for row in rows):
            raise typer.Exit(EXIT_CHECK_FAILED)

    return status


def _status_table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "held", "running", "left there"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        held, running, left = row["held"], row["running"], row["left_bytes"]
        table.add_row(
            str(row["node"]),
            str(row["error"] or (describe_holder(held) if isinstance(held, dict) else "free")),
            ", ".join(running) if isinstance(running, list) and running else "nothing",
            f"{left / 1e6:.1f} MB" if isinstance(left, int) else "",
        )
    return table


def logs(
    run: Annotated[Path, typer.Argument(help="A run directory, or an experiment's directory of runs.", metavar="RUN")],
    rank: Annotated[str, typer.Option("--rank", help="For example worker3 or scheduler0.")] = "worker0",
    trial: Annotated[str | None, typer.Option("--trial", help="The trial.", show_default="the latest")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial is over.")] = False,
) -> None:
    """Print what a rank printed, while it runs or later."""
    for data in follow_log(open_run(run), trial, rank, follow, time.sleep):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
