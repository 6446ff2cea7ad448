"""Starts, watches and stops the ranks of one trial: one failure ends it everywhere, and nothing is left running."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import NodeError
from harness.launch.checkpoints import Keeping
from harness.launch.follow import Follower
from harness.launch.limits import Limits
from harness.launch.placement import Placement, Rank
from harness.launch.replacements import Replacements
from harness.launch.running import Observer, Outcome, RunningTrial
from harness.launch.watch import End, Failure, Watch, describe_exit
from harness.nodes.agent import ask, request_to
from harness.nodes.inventory import Node
from harness.nodes.session import Session, on_all

__all__ = ["End", "Failure", "Launcher", "Limits", "Observer", "Outcome", "describe_exit"]

STOP_TIMEOUT_SECONDS = 15.0
# A node that is given up is asked once more, but not waited for: its ranks have a lease.
STOP_LOST_SECONDS = 3.0
# Frames that wait for the launcher: output of at most 256 KiB each, now and then a checkpoint of a few MiB.
INBOX_FRAMES = 64


class Launcher:
    """Runs trials of one run on nodes that have the code."""

    def __init__(
        self,
        session: Session,
        code: str,
        run: str,
        limits: Limits,
        telemetry_seconds: float = 5.0,
        still_there: Callable[[], None] = lambda: None,
    ) -> None:
        """`still_there` raises where the nodes are no longer this harness's; that ends a trial."""
        self._session = session
        self._code = code
        self._run = run
        self._limits = limits
        self._telemetry_seconds = telemetry_seconds
        self._still_there = still_there

    def run(
        self,
        placement: Placement,
        observer: Observer,
        *,
        expects_events: bool | None = None,
        directories: Mapping[str, str] | None = None,
        keeping: Keeping | None = None,
        replacements: Replacements | None = None,
    ) -> Outcome:
        """Run one trial to its end. Whatever happens, also an exception or Ctrl-C, its ranks are stopped.

        `expects_events` is whether ranks say that they are ready, None for what the trial's program declares;
        `directories` names the ranks' working directory on each node, each rank's own where there is none; `keeping` asks
        workers for checkpoints, and begins with one; `replacements` are workers that may take the place of ones that die.
        """
        attempt = secrets.token_hex(8)
        began = time.monotonic()
        trial = RunningTrial(
            inbox=queue.Queue(maxsize=INBOX_FRAMES),
            watch=Watch(
                placement,
                self._limits,
                placement.trial.program.events if expects_events is None else expects_events,
                began,
            ),
            observer=observer,
            outcome=Outcome("failed", datetime.now(UTC)),
            began=began,
            framework=placement.framework,
            keeping=keeping,
            replacements=replacements,
            still_there=self._still_there,
        )
        self._still_there()
        for node in placement.nodes:
            self._follow(trial, placement.on(node), placement.trial.id, attempt, (directories or {}).get(node.name))

        def replace(failure: Failure) -> bool:
            return self._replace(trial, failure, placement.trial.id, attempt)

        try:
            for follower in trial.followers:
                follower.start()
            trial.outcome.failure = trial.watch_until_over(self._limits, replace)
            trial.outcome.status = "failed" if trial.outcome.failure else "ok"
        finally:
            try:
                self._stop_rest(placement, trial, attempt)
            finally:
                trial.drain()
        trial.outcome.ends = trial.watch.ends()
        return trial.outcome

    def _follow(
        self, trial: RunningTrial, ranks: Sequence[Rank], name: str, attempt: str, directory: str | None
    ) -> Follower:
        """What will start some ranks of one node, and follow them."""
        node, keeping = ranks[0].node, trial.keeping
        request = self._request(trial, ranks, name, attempt, directory)
        files = keeping.files_of(ranks) if keeping else b""
        follower = Follower(self._session.to(node), self._code, request, self._limits, trial.inbox, files)
        trial.followers.append(follower)
        return follower

    def _replace(self, trial: RunningTrial, failure: Failure, name: str, attempt: str) -> bool:
        """Start another worker in the place of one that failed, on its node, if one may; its directory is one of its own."""
        rank = trial.watch.ranks.get(failure.rank)
        successor = trial.replacements.successor(rank, failure) if trial.replacements and rank else None
        if successor is None:
            return False
        trial.warn(f"{failure}; another takes its place")
        trial.watch.take_successor(successor.name, time.monotonic())
        count = len(trial.replacements.made) if trial.replacements else 0
        self._follow(trial, [successor], f"{name}.again{count}", attempt, None).start()
        return True

    def _request(
        self, trial: RunningTrial, ranks: Sequence[Rank], name: str, attempt: str, directory: str | None
    ) -> Json:
        node = ranks[0].node
        others = [follower for follower in trial.followers if follower.node.name == node.name]
        return {
            **request_to(node),
            "run": self._run,
            "trial": name,
            "attempt": attempt,
            "beside": bool(others),
            "ranks": [
                {
                    "name": rank.name,
                    "command": list(rank.command),
                    "environment": trial.environment_of(rank),
                    "says_ready": trial.watch.expects_ready(rank),
                }
                for rank in ranks
            ],
            "files": {rank.name: list(rank.leaves) for rank in ranks if rank.leaves},
            "directory": directory,
            "lease_seconds": self._limits.lease,
            "time_limit_seconds": self._limits.time,
            "output_limit_bytes": self._limits.output_bytes,
            # A node's samples come once, and from one set of counters.
            "telemetry_seconds": 0 if any(each.is_alive() for each in others) else self._telemetry_seconds,
            **(trial.keeping.request_of(ranks) if trial.keeping else {}),
        }

    def _stop_rest(self, placement: Placement, trial: RunningTrial, attempt: str) -> None:
        """Stop what has not ended, or may not have, on all nodes at once."""
        watch = trial.watch
        left = [n for n in placement.nodes if any(watch.may_run(rank.name) for rank in placement.on(n))]
        token = placement.ranks[0].environment.get(wire.TRIAL_TOKEN)

        def stop(node: Node) -> Json:
            answers = [
                ask(
                    self._session.to(node), self._code, wire.STOP, STOP_TIMEOUT_SECONDS,
                    run=self._run, trial=follower.trial, attempt=attempt, token=token,
                )
                for follower in trial.followers
                if follower.node.name == node.name
            ]  # fmt: skip
            return {"left": [name for answer in answers for name in answer["left"]]}

        limits = {n.name: STOP_LOST_SECONDS if n.name in watch.lost_nodes else STOP_TIMEOUT_SECONDS for n in left}
        for node, answer in on_all(left, stop, limits) if left else ():
            if isinstance(answer, NodeError):
                trial.warn(f"{answer}; its ranks end by themselves within {self._limits.lease:.0f} s")
            elif answer["left"]:
                trial.warn(f"{node.name}: could not stop {', '.join(answer['left'])}")
