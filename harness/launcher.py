"""Starts, watches and stops the ranks of one trial: one failure ends it everywhere, and nothing is left running."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from harness.agent import ask
from harness.checkpoints import Keeping
from harness.errors import HarnessError, NodeError
from harness.events import Event, parse_line
from harness.inventory import Node
from harness.json_line import Json
from harness.launch_follow import Follower, Message
from harness.launch_limits import Limits
from harness.launch_watch import End, Failure, Watch, describe_exit
from harness.placement import Placement, Rank
from harness.replacements import Replacements
from harness.transport import Session, on_all

__all__ = ["End", "Failure", "Launcher", "Limits", "Observer", "Outcome", "describe_exit"]

# Several ranks may fail at once, for one reason: so long the launcher listens for the one that failed first.
FIRST_FAILURE_WINDOW_SECONDS = 1.0
STOP_TIMEOUT_SECONDS = 15.0
# A node that is given up is asked once more, but not waited for: its ranks have a lease.
STOP_LOST_SECONDS = 3.0
DRAIN_SECONDS = 4.0
# Frames that wait for the launcher: output of at most 256 KiB each, now and then a checkpoint of a few MiB.
INBOX_FRAMES = 64


@dataclass
class Outcome:
    """How a trial ended."""

    status: Literal["ok", "failed"]
    started_at: datetime
    failure: Failure | None = None
    startup_seconds: float | None = None
    total_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    ends: dict[str, End] = field(default_factory=dict)
    """By rank; of a node that was lost none may be known."""


class Observer(Protocol):
    """Told of everything a trial says while it runs; called from one thread."""

    def output(self, rank: Rank, data: bytes) -> None:
        """Raw output of a rank, in order."""

    def event(self, rank: Rank, event: Event) -> None:
        """An event that a rank printed."""

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        """A sample of a node's health."""

    def warning(self, text: str) -> None:
        """Something the user should know, for example a connection that was lost and is tried again."""


class Launcher:
    """Runs trials of one run on nodes that have the code."""

    def __init__(self, session: Session, code: str, run: str, limits: Limits, telemetry_seconds: float = 5.0) -> None:
        self._session = session
        self._code = code
        self._run = run
        self._limits = limits
        self._telemetry_seconds = telemetry_seconds

    def run(
        self,
        placement: Placement,
        observer: Observer,
        *,
        expects_events: bool = True,
        directories: Mapping[str, str] | None = None,
        keeping: Keeping | None = None,
        replacements: Replacements | None = None,
    ) -> Outcome:
        """Run one trial to its end. Whatever happens, also an exception or Ctrl-C, its ranks are stopped.

        `expects_events` is whether workers say that they are ready; `directories` names the ranks' working directory
        on each node, each rank's own where there is none; `keeping` asks workers for checkpoints, and begins with one;
        `replacements` are workers that may take the place of ones that die.
        """
        attempt = secrets.token_hex(8)
        began = time.monotonic()
        trial = _RunningTrial(
            inbox=queue.Queue(maxsize=INBOX_FRAMES),
            watch=Watch(placement, self._limits, expects_events, began),
            observer=observer,
            outcome=Outcome("failed", datetime.now(UTC)),
            began=began,
            keeping=keeping,
            replacements=replacements,
        )
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
        self, trial: _RunningTrial, ranks: Sequence[Rank], name: str, attempt: str, directory: str | None
    ) -> Follower:
        """What will start some ranks of one node, and follow them."""
        node, keeping = ranks[0].node, trial.keeping
        request = self._request(trial, ranks, name, attempt, directory)
        files = keeping.files_of(ranks) if keeping else b""
        follower = Follower(self._session.to(node), self._code, request, self._limits, trial.inbox, files)
        trial.followers.append(follower)
        return follower

    def _replace(self, trial: _RunningTrial, failure: Failure, name: str, attempt: str) -> bool:
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
        self, trial: _RunningTrial, ranks: Sequence[Rank], name: str, attempt: str, directory: str | None
    ) -> Json:
        node = ranks[0].node
        others = [follower for follower in trial.followers if follower.node.name == node.name]
        return {
            "root": node.root,
            "node": node.name,
            "supervisor": node.supervisor,
            "run": self._run,
            "trial": name,
            "attempt": attempt,
            "beside": bool(others),
            "ranks": [
                {"name": rank.name, "command": list(rank.command), "environment": trial.environment_of(rank)}
                for rank in ranks
            ],
            "directory": directory,
            "lease_seconds": self._limits.lease,
            "time_limit_seconds": self._limits.time,
            # A node's samples come once, and from one set of counters.
            "telemetry_seconds": 0 if any(each.is_alive() for each in others) else self._telemetry_seconds,
            **(trial.keeping.request_of(ranks) if trial.keeping else {}),
        }

    def _stop_rest(self, placement: Placement, trial: _RunningTrial, attempt: str) -> None:
        """Stop what has not ended, on all nodes at once."""
        watch = trial.watch
        left = [n for n in placement.nodes if any(rank.name not in watch.exits for rank in placement.on(n))]

        def stop(node: Node) -> Json:
            answers = [
                ask(
                    self._session.to(node), self._code, "stop", STOP_TIMEOUT_SECONDS,
                    run=self._run, trial=follower.trial, attempt=attempt,
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


@dataclass
class _RunningTrial:
    """The parts of one trial while it runs."""

    inbox: queue.Queue[Message]
    watch: Watch
    observer: Observer
    outcome: Outcome
    began: float
    keeping: Keeping | None = None
    replacements: Replacements | None = None
    followers: list[Follower] = field(default_factory=list)

    def environment_of(self, rank: Rank) -> dict[str, str]:
        """All that a rank is told."""
        beside = self.replacements.environment_of(rank) if self.replacements else {}
        return {**beside, **rank.environment, **(self.keeping.environment_of(rank) if self.keeping else {})}

    def watch_until_over(self, limits: Limits, replace: Callable[[Failure], bool]) -> Failure | None:
        """Take messages until the trial is over; the failure if there was one for which `replace` found no other rank."""
        watch, outcome = self.watch, self.outcome
        finished: float | None = None
        failed_at: float | None = None
        while True:
            self.take_one(timeout=0.2)
            now = time.monotonic()
            if outcome.startup_seconds is None and watch.all_ready:
                outcome.startup_seconds = now - self.began
            for follower in self.followers:
                if follower.silent_for(now) > limits.outage:
                    watch.take_lost(follower.node.name, f"out of reach for more than {limits.outage:.0f} s")
            failure = watch.failure(now)
            if failure:
                failed_at = failed_at or now
                if now - failed_at > FIRST_FAILURE_WINDOW_SECONDS and replace(failure):
                    failed_at = None
                elif now - failed_at > FIRST_FAILURE_WINDOW_SECONDS:
                    outcome.total_seconds = failed_at - self.began
                    return failure
            elif watch.workers_done:
                finished = finished or now
                outcome.total_seconds = finished - self.began
                if watch.all_done:
                    return None
                if now - finished > limits.exit_grace:
                    outcome.warnings.append(f"{', '.join(watch.left)} did not end by itself and was stopped")
                    return None

    def take_one(self, timeout: float) -> bool:
        """Take the next message, if one comes in time."""
        try:
            message = self.inbox.get(timeout=timeout)
        except queue.Empty:
            return False
        if message.trouble:
            if message.fatal:
                self.watch.take_lost(message.node.name, message.trouble)
            else:
                self.warn(f"{message.node.name}: {message.trouble}")
            return True
        frame = message.frame
        kind = frame.get("frame")
        if kind == "output":
            self._take_output(frame["rank"], message.payload)
        elif kind == "exit":
            for line in self.watch.splitters[frame["rank"]].flush():
                self._take_line(frame["rank"], line)
            self.watch.take_exit(frame["rank"], frame, time.monotonic())
        elif kind == "started":
            for name, reason in frame["failed"].items():
                self.watch.take_exit(name, {"reason": "start", "message": str(reason)}, time.monotonic())
        elif kind == "beat":
            # A beat may be older than the end of a rank, whose place another has taken since.
            self.watch.take_stopped(message.followed, message.followed.intersection(frame.get("stopped", ())))
        elif kind == "checkpoint" and self.keeping:
            self.keeping.take(self.watch.ranks[frame["rank"]], message.payload)
        elif kind == "telemetry":
            self.observer.telemetry(message.node, {k: v for k, v in frame.items() if k != "frame"})
        return True

    def warn(self, text: str) -> None:
        """Tell the user now, and keep it with the trial."""
        self.outcome.warnings.append(text)
        self.observer.warning(text)

    def drain(self) -> None:
        """Take what the followers still bring, the exit states of stopped ranks above all, then end them."""
        deadline = time.monotonic() + DRAIN_SECONDS
        with suppress(HarnessError):  # the disk may be full here: then that is what ended the trial
            while time.monotonic() < deadline and not self._all_heard():
                self.take_one(timeout=0.1)
        for follower in self.followers:
            follower.finish()
        with suppress(HarnessError):
            while time.monotonic() < deadline and any(follower.is_alive() for follower in self.followers):
                self.take_one(timeout=0.05)

    def _all_heard(self) -> bool:
        """Whether every rank ended, but for those of lost nodes."""
        ranks = self.watch.ranks
        return all(ranks[name].node.name in self.watch.lost_nodes for name in self.watch.left) and self.inbox.empty()

    def _take_output(self, name: str, data: bytes) -> None:
        self.observer.output(self.watch.ranks[name], data)
        self.watch.take_output(name, time.monotonic())
        for line in self.watch.splitters[name].feed(data):
            self._take_line(name, line)

    def _take_line(self, name: str, line: str) -> None:
        event = parse_line(line)
        if event is None:
            self.watch.take_log(name, line)
            return
        self.watch.take_event(name, event)
        if self.replacements:
            self.replacements.event(name, event)
        self.observer.event(self.watch.ranks[name], event)
