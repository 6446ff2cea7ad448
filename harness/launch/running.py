"""One trial while it runs: takes what its nodes say until it is over."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from harness.contract import wire
from harness.contract.events import Event, parse_line
from harness.contract.json_line import Json
from harness.errors import HarnessError
from harness.launch.checkpoints import Keeping
from harness.launch.follow import Follower, Message
from harness.launch.frameworks.base import Environment, Framework
from harness.launch.hold import Standstill
from harness.launch.limits import Limits
from harness.launch.placement import Rank
from harness.launch.replacements import Replacements
from harness.launch.watch import End, Failure, Watch
from harness.nodes.inventory import Node

# Several ranks may fail at once, for one reason: so long the launcher listens for the one that failed first.
FIRST_FAILURE_WINDOW_SECONDS = 1.0
DRAIN_SECONDS = 4.0
LONGEST_WORD = 100


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
    stood_still_seconds: float = 0.0
    """How long the harness itself stood still meanwhile: what it measured of that time is not sure."""


class Observer(Protocol):
    """Told of everything a trial says while it runs; called from one thread."""

    def output(self, rank: Rank, data: bytes) -> None:
        """Raw output of a rank, in order."""

    def event(self, rank: Rank, event: Event) -> None:
        """An event that a rank printed."""

    def file(self, rank: Rank, name: str, data: bytes) -> None:
        """A file that a rank left for the run directory, whole."""

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        """A sample of a node's health."""

    def warning(self, text: str) -> None:
        """Something the user should know, for example a connection that was lost and is tried again."""


@dataclass
class RunningTrial:
    """The parts of one trial while it runs."""

    inbox: queue.Queue[Message]
    watch: Watch
    observer: Observer
    outcome: Outcome
    began: float
    framework: Framework
    keeping: Keeping | None = None
    replacements: Replacements | None = None
    followers: list[Follower] = field(default_factory=list)
    missed: set[str] = field(default_factory=set)
    """Ranks that may die and did, of which the user was told."""
    still_there: Callable[[], None] = lambda: None
    """Raises where the nodes are no longer this harness's."""
    _standstill: Standstill = field(default_factory=Standstill)

    def environment_of(self, rank: Rank) -> Environment:
        """All that a rank is told."""
        beside = self.replacements.environment_of(rank, self.framework) if self.replacements else {}
        return {**beside, **rank.environment, **(self.keeping.environment_of(rank) if self.keeping else {})}

    def watch_until_over(self, limits: Limits, replace: Callable[[Failure], bool]) -> Failure | None:
        """Take messages until the trial is over; the failure if there was one for which `replace` found no other rank."""
        watch, outcome = self.watch, self.outcome
        finished: float | None = None
        failed_at: float | None = None
        while True:
            self.take_one(timeout=0.2)
            self.still_there()
            now = time.monotonic()
            self._note_standstill(now)
            if outcome.startup_seconds is None and watch.all_ready:
                outcome.startup_seconds = now - self.began
            self._give_up_silent(limits, now)
            failure = watch.failure(now)
            if not failure:
                self._tell_losses()
            if failure:
                failed_at = failed_at or now
                if now - failed_at > FIRST_FAILURE_WINDOW_SECONDS and replace(failure):
                    failed_at = None
                elif now - failed_at > FIRST_FAILURE_WINDOW_SECONDS:
                    outcome.total_seconds = failed_at - self.began
                    return failure
            elif watch.finished:
                finished = finished or now
                outcome.total_seconds = finished - self.began
                if watch.all_done:
                    return None
                if not self.framework.servers_end:
                    return None
                if now - finished > limits.exit_grace:
                    outcome.warnings.append(f"{', '.join(watch.left)} did not end by itself and was stopped")
                    return None

    def _give_up_silent(self, limits: Limits, now: float) -> None:
        """Give up the nodes that are out of reach, or do not start their ranks."""
        for follower in self.followers:
            if follower.silent_for(now) > limits.outage:
                self.watch.take_lost(follower.node.name, f"out of reach for more than {limits.outage:.0f} s")
            if follower.starting_for(now) > limits.start:
                self.watch.take_lost(follower.node.name, f"did not start its ranks within {limits.start:.0f} s")

    def _note_standstill(self, now: float) -> None:
        """Say that the harness stood still, and blame no node for it."""
        seconds = self._standstill.seconds()
        if not seconds:
            return
        self.outcome.stood_still_seconds += seconds
        self.watch.excuse(now)
        for follower in self.followers:
            follower.excuse(now)
        self.warn(f"the harness itself stood still for {seconds:.0f} s: it was stopped, or its machine slept")

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
        else:
            self._take_frame(message)
        return True

    def _take_frame(self, message: Message) -> None:
        frame = message.frame
        kind = frame.get("frame")
        if kind == wire.OUTPUT_FRAME:
            self._take_output(frame["rank"], message.payload)
        elif kind == wire.EXIT_FRAME:
            for line in self.watch.splitters[frame["rank"]].flush():
                self._take_line(frame["rank"], line)
            self.watch.take_exit(frame["rank"], frame, time.monotonic())
        elif kind == wire.STARTED_FRAME:
            for name, reason in frame["failed"].items():
                self.watch.take_exit(name, {"reason": wire.NOT_STARTED, "message": str(reason)}, time.monotonic())
        elif kind == wire.BEAT_FRAME:
            # A beat may be older than the end of a rank, whose place another has taken since.
            self.watch.take_stopped(message.followed, message.followed.intersection(frame.get("stopped", ())))
        elif kind == wire.CHECKPOINT_FRAME and self.keeping:
            self.keeping.take(self.watch.ranks[frame["rank"]], message.payload)
        elif kind == wire.FILE_FRAME:
            self._take_file(frame, message.payload)
        elif kind == wire.TELEMETRY_FRAME:
            self.observer.telemetry(message.node, _sample(frame))

    def _take_file(self, frame: Json, data: bytes) -> None:
        """Hand on what a rank left; of what is too large there is only the size."""
        rank, name, size = self.watch.ranks[frame["rank"]], str(frame["name"]), frame["size"]
        if size > wire.FILE_LIMIT_BYTES:
            most = f"files of more than {wire.FILE_LIMIT_BYTES >> 20} MiB are not kept"
            self.warn(f"{rank.name} on {rank.node.name}: {name} has {size / (1 << 20):.1f} MiB; {most}")
        else:
            self.observer.file(rank, name, data)

    def _tell_losses(self) -> None:
        """Warn once of every rank that the trial goes on without."""
        for name, text in self.watch.losses().items():
            if name not in self.missed:
                self.missed.add(name)
                self.warn(f"{text}; the trial goes on without it")

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


def _sample(frame: Json) -> Json:
    """What a telemetry frame tells: short words and numbers that can be worked with, whatever the node sent."""
    numbers = Event(wire.TELEMETRY_FRAME, frame)
    words = {key: value for key, value in frame.items() if isinstance(value, str) and len(value) <= LONGEST_WORD}
    found = {key: number for key in frame if (number := numbers.number(key)) is not None}
    return {key: value for key, value in {**words, **found}.items() if key != "frame"}
