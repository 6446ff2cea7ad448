"""Starts, watches and stops the ranks of one trial: one failure ends it everywhere, and nothing is left running."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from harness.agent import agent_command, ask
from harness.errors import NodeError
from harness.events import Event, LineSplitter, parse_line
from harness.inventory import Node
from harness.placement import Placement, Rank
from harness.transport import Json, Session, StreamClosedError, Transport, on_all

LAST_LINES = 20
# Several ranks may fail at once, for one reason: so long the launcher listens for the one that failed first.
FIRST_FAILURE_WINDOW_SECONDS = 1.0
RECONNECT_PAUSE_SECONDS = 1.0
STOP_TIMEOUT_SECONDS = 20.0
START_REPLY_SECONDS = 45.0


@dataclass(frozen=True)
class Limits:
    """How long each wait of a trial may last, in seconds; None where there is no limit."""

    start: float = 180.0
    """Launch to a worker's `ready`."""
    stall: float | None = 120.0
    """Silence of a worker that was ready."""
    time: float | None = None
    """The whole trial."""
    lease: float = 45.0
    """Ranks outlive a harness that vanished by this much at most."""
    outage: float = 30.0
    """A node that cannot be reached for longer is lost."""
    silence: float = 10.0
    """A connection over which nothing came for this long is taken for cut: the agent sends a beat every second."""
    exit_grace: float = 10.0
    """For scheduler and servers to end once all workers have."""


@dataclass(frozen=True)
class Failure:
    """Who failed first, how, and the last lines it printed."""

    rank: str
    node: str
    how: str
    last_lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.rank} on {self.node}: {self.how}" if self.rank else f"{self.node}: {self.how}"


@dataclass
class Outcome:
    """How a trial ended."""

    status: Literal["ok", "failed"]
    started_at: datetime
    failure: Failure | None = None
    startup_seconds: float | None = None
    total_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


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


@dataclass(frozen=True)
class _Message:
    """What a follower saw: a frame, trouble with the connection, or that it gave up (`fatal`)."""

    node: Node
    frame: Json = field(default_factory=dict)
    payload: bytes = b""
    trouble: str = ""
    fatal: bool = False


class _AgentError(Exception):
    """The agent said that it cannot go on; asking again would not help."""


class _Follower(threading.Thread):
    """Starts one node's ranks and follows them, reconnecting where the connection is cut."""

    def __init__(
        self, transport: Transport, code: str, request: Json, limits: Limits, inbox: queue.Queue[_Message]
    ) -> None:
        super().__init__(name=f"follow-{transport.node.name}", daemon=True)
        self._transport = transport
        self._code = code
        self._request = request
        self._limits = limits
        self._inbox = inbox
        self._offsets: dict[str, int] = {rank["name"]: 0 for rank in request["ranks"]}
        self._launched = False
        self._heard = 0.0
        self._cut = False
        self._stopping = threading.Event()

    def finish(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def run(self) -> None:
        """Follow until asked to finish, or until the node is given up."""
        while not self._stopping.is_set():
            try:
                self._follow_once()
            except _AgentError as error:
                self._say(str(error), fatal=True)
                return
            except (NodeError, StreamClosedError, TimeoutError, OSError) as error:
                text = getattr(error, "message", "") or str(error) or f"silent for {self._limits.silence:.0f} s"
                if self._stopping.is_set() or not self._bear(text):
                    return
                self._transport.close()
                self._stopping.wait(RECONNECT_PAUSE_SECONDS)

    def _bear(self, text: str) -> bool:
        """Whether to try again after trouble with the connection."""
        if not self._launched:
            self._say(f"could not start its ranks: {text}", fatal=True)
            return False
        if time.monotonic() - self._heard > self._limits.outage:
            self._say(f"out of reach for more than {self._limits.outage:.0f} s: {text}", fatal=True)
            return False
        if not self._cut:
            self._cut = True
            self._say(f"connection lost ({text}); trying again for {self._limits.outage:.0f} s")
        return True

    def _say(self, text: str, fatal: bool = False) -> None:
        self._inbox.put(_Message(self._transport.node, trouble=text, fatal=fatal))

    def _follow_once(self) -> None:
        """Follow until asked to finish; raises where the stream is cut."""
        node = self._transport.node
        verb = "follow" if self._launched else "run"
        stream = self._transport.open(agent_command(node, self._code, verb))
        try:
            stream.send_line({**self._request, "offsets": self._offsets})
            renewed = 0.0
            while not self._stopping.is_set():
                # Starting units takes the node longer than a beat.
                wait = self._limits.silence if self._launched else START_REPLY_SECONDS
                found = stream.read_frame(wait)
                if found is None:
                    raise StreamClosedError(stream.errors().strip()[-300:] or "the agent ended")
                self._heard = time.monotonic()
                self._take(*found)
                if self._heard - renewed > self._limits.lease / 8:
                    renewed = self._heard
                    stream.write(b".")
        finally:
            stream.close()

    def _take(self, frame: Json, payload: bytes) -> None:
        if frame.get("frame") == "error":
            raise _AgentError(f"its agent failed: {frame.get('error')}")
        if self._cut:
            self._cut = False
            self._say("connected again")
        if frame.get("frame") == "started":
            self._launched = True
        if frame.get("frame") == "output":
            self._offsets[frame["rank"]] = frame["offset"] + len(payload)
        self._inbox.put(_Message(self._transport.node, frame, payload))


class _Watch:
    """What is known of the ranks of a running trial, and what follows from it."""

    def __init__(self, placement: Placement, limits: Limits, expects_events: bool, now: float) -> None:
        self.ranks = {rank.name: rank for rank in placement.ranks}
        self.exits: dict[str, Json] = {}
        self.tails: dict[str, deque[str]] = {name: deque(maxlen=LAST_LINES) for name in self.ranks}
        self.splitters = {name: LineSplitter() for name in self.ranks}
        self.ready: set[str] = set()
        self.explained: dict[str, str] = {}
        self.lost_nodes: dict[str, str] = {}
        self.workers = [rank.name for rank in placement.ranks if rank.role == "worker"]
        self._limits = limits
        self._expects_events = expects_events
        self._began = now
        self._heard = dict.fromkeys(self.ranks, now)

    def heard(self, name: str, now: float) -> None:
        self._heard[name] = now

    def take_event(self, name: str, event: Event) -> None:
        if event.kind == "ready":
            self.ready.add(name)
        if event.kind == "error":
            self.explained[name] = str(event.values.get("message", ""))

    @property
    def all_ready(self) -> bool:
        return set(self.workers) <= self.ready

    @property
    def workers_done(self) -> bool:
        return all(name in self.exits for name in self.workers)

    @property
    def all_done(self) -> bool:
        return len(self.exits) == len(self.ranks)

    def failure(self, now: float) -> Failure | None:
        """The first failure, or None while all is well."""
        return self._failed_rank() or self._lost_node() or self._overdue(now)

    def _failed_rank(self) -> Failure | None:
        # How scheduler and servers end once the workers are done is no matter of the trial's result.
        candidates = self.workers if self.workers_done else list(self.exits)
        failed = [name for name in candidates if describe_exit(self.exits.get(name, {"code": 0}))]
        if not failed:
            return None
        name = min(failed, key=lambda each: self.exits[each].get("ended_at") or float("inf"))
        return self._blame(name, describe_exit(self.exits[name]))

    def _lost_node(self) -> Failure | None:
        for node, trouble in self.lost_nodes.items():
            if any(rank.node.name == node and name not in self.exits for name, rank in self.ranks.items()):
                return Failure("", node, trouble)
        return None

    def _overdue(self, now: float) -> Failure | None:
        if self._limits.time is not None and now - self._began > self._limits.time:
            return Failure("", "trial", f"not done within the time limit of {self._limits.time:.0f} s")
        alive = [name for name in self.workers if name not in self.exits]
        if self._expects_events:
            late = [name for name in alive if name not in self.ready]
            if late and now - self._began > self._limits.start:
                return self._blame(late[0], f"did not get ready within {self._limits.start:.0f} s")
            alive = [name for name in alive if name in self.ready]
        if alive and self._limits.stall is not None:
            quietest = min(alive, key=lambda name: self._heard[name])
            if now - self._heard[quietest] > self._limits.stall:
                return self._blame(quietest, f"no progress for {self._limits.stall:.0f} s")
        return None

    def _blame(self, name: str, how: str) -> Failure:
        explained = self.explained.get(name)
        return Failure(
            name, self.ranks[name].node.name, f"{how}: {explained}" if explained else how, tuple(self.tails[name])
        )


def describe_exit(state: Json) -> str:
    """How a rank ended, in words; empty where it ended well."""
    reason = state.get("reason", "exit")
    if reason == "start":
        return f"could not be started: {state['message']}"
    if reason == "lost":
        return f"vanished: {state['message']}"
    if reason == "lease":
        return "was ended by its node: the harness was out of reach for longer than the lease"
    if reason == "time_limit":
        return "was ended at the time limit"
    if state.get("out_of_memory"):
        return "was killed: the node ran out of memory"
    if state.get("signal"):
        return f"was killed by signal {state['signal']}"
    if state.get("code"):
        return f"exited with status {state['code']}"
    return "was stopped" if reason == "stopped" else ""


class Launcher:
    """Runs trials of one run on nodes that have the code."""

    def __init__(self, session: Session, code: str, run: str, limits: Limits, telemetry_seconds: float = 5.0) -> None:
        self._session = session
        self._code = code
        self._run = run
        self._limits = limits
        self._telemetry_seconds = telemetry_seconds

    def run(self, placement: Placement, observer: Observer, *, expects_events: bool = True) -> Outcome:
        """Run one trial to its end. Whatever happens, also an exception or Ctrl-C, its ranks are stopped."""
        inbox: queue.Queue[_Message] = queue.Queue(maxsize=10_000)
        outcome = Outcome("failed", datetime.now(UTC))
        began = time.monotonic()
        followers = [self._follower(placement, node, inbox) for node in placement.nodes]
        watch = _Watch(placement, self._limits, expects_events, began)
        for follower in followers:
            follower.start()
        try:
            outcome.failure = self._watch(watch, inbox, outcome, observer, began)
            outcome.status = "failed" if outcome.failure else "ok"
        finally:
            for follower in followers:
                follower.finish()
            self._stop_rest(placement, watch, observer)
            deadline = time.monotonic() + self._limits.silence
            for follower in followers:
                _drain_until_ended(follower, inbox, watch, observer, deadline)
        return outcome

    def _follower(self, placement: Placement, node: Node, inbox: queue.Queue[_Message]) -> _Follower:
        ranks = [
            {"name": rank.name, "command": list(rank.command), "environment": dict(rank.environment)}
            for rank in placement.on(node)
        ]
        request = {
            "root": node.root,
            "node": node.name,
            "supervisor": node.supervisor,
            "run": self._run,
            "trial": placement.trial.id,
            "ranks": ranks,
            "lease_seconds": self._limits.lease,
            "time_limit_seconds": self._limits.time,
            "telemetry_seconds": self._telemetry_seconds,
        }
        return _Follower(self._session.to(node), self._code, request, self._limits, inbox)

    def _watch(
        self, watch: _Watch, inbox: queue.Queue[_Message], outcome: Outcome, observer: Observer, began: float
    ) -> Failure | None:
        """Take messages until the trial is over; the failure if there was one."""
        finished: float | None = None
        failed_at: float | None = None
        while True:
            _take_one(inbox, watch, observer, timeout=0.2)
            now = time.monotonic()
            if outcome.startup_seconds is None and watch.all_ready:
                outcome.startup_seconds = now - began
            failure = watch.failure(now)
            if failure:
                failed_at = failed_at or now
                if now - failed_at > FIRST_FAILURE_WINDOW_SECONDS:
                    outcome.total_seconds = failed_at - began
                    return failure
            elif watch.workers_done:
                finished = finished or now
                outcome.total_seconds = finished - began
                if watch.all_done:
                    return None
                if now - finished > self._limits.exit_grace:
                    left = sorted(set(watch.ranks) - set(watch.exits))
                    outcome.warnings.append(f"{', '.join(left)} did not end by itself and was stopped")
                    return None

    def _stop_rest(self, placement: Placement, watch: _Watch, observer: Observer) -> None:
        """Stop what has not ended, on all nodes at once."""
        if watch.all_done:
            return
        nodes = [n for n in placement.nodes if any(rank.name not in watch.exits for rank in placement.on(n))]

        def stop(node: Node) -> Json:
            return ask(
                self._session.to(node),
                self._code,
                "stop",
                STOP_TIMEOUT_SECONDS,
                run=self._run,
                trial=placement.trial.id,
            )

        for node, answer in on_all(nodes, stop):
            if isinstance(answer, NodeError):
                observer.warning(f"{answer}; its ranks end by themselves within {self._limits.lease:.0f} s")
            elif answer["left"]:
                observer.warning(f"{node.name}: could not stop {', '.join(answer['left'])}")


def _take_one(inbox: queue.Queue[_Message], watch: _Watch, observer: Observer, timeout: float) -> None:
    try:
        message = inbox.get(timeout=timeout)
    except queue.Empty:
        return
    if message.trouble:
        observer.warning(f"{message.node.name}: {message.trouble}")
        if message.fatal:
            watch.lost_nodes[message.node.name] = message.trouble
        return
    frame = message.frame
    kind = frame.get("frame")
    if kind == "output":
        _take_output(watch, frame["rank"], message.payload, observer)
    elif kind == "exit":
        for line in watch.splitters[frame["rank"]].flush():
            _take_line(watch, frame["rank"], line, observer)
        watch.exits[frame["rank"]] = frame
    elif kind == "started":
        for name, reason in frame["failed"].items():
            watch.exits[name] = {"reason": "start", "message": reason}
    elif kind == "telemetry":
        observer.telemetry(message.node, {k: v for k, v in frame.items() if k != "frame"})


def _take_output(watch: _Watch, name: str, data: bytes, observer: Observer) -> None:
    observer.output(watch.ranks[name], data)
    watch.heard(name, time.monotonic())
    for line in watch.splitters[name].feed(data):
        _take_line(watch, name, line, observer)


def _take_line(watch: _Watch, name: str, line: str, observer: Observer) -> None:
    event = parse_line(line)
    if event is None:
        watch.tails[name].append(line[:500])
        return
    watch.take_event(name, event)
    observer.event(watch.ranks[name], event)


def _drain_until_ended(
    follower: _Follower, inbox: queue.Queue[_Message], watch: _Watch, observer: Observer, deadline: float
) -> None:
    """Wait for a follower's thread, taking what it still brings: a full inbox would block it."""
    while (follower.is_alive() or not inbox.empty()) and time.monotonic() < deadline:
        _take_one(inbox, watch, observer, timeout=0.05)
        follower.join(0.01 if inbox.empty() else 0)
