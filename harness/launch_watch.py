"""What is known of the ranks of a running trial, and what follows from it. Pure: time is an argument."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.events import Event, LineSplitter
from harness.json_line import Json
from harness.launch_limits import Limits
from harness.placement import Placement

LAST_LINES = 20
LONGEST_LINE = 500


@dataclass(frozen=True)
class Failure:
    """Who failed first, how, and the last lines it printed; `rank` is empty where a whole node or the trial failed."""

    rank: str
    node: str
    how: str
    last_lines: tuple[str, ...] = ()
    ended: bool = False
    """Whether the rank's process ended by itself or was killed, and its node is there: neither we nor a limit ended it."""

    def __str__(self) -> str:
        return f"{self.rank} on {self.node}: {self.how}" if self.rank else f"{self.node}: {self.how}"


@dataclass(frozen=True)
class End:
    """How a rank ended: its exit state as its node sent it, and when, in seconds since the trial's launch."""

    state: Json
    seconds: float


class Watch:
    """The state of a trial; `now` is the controller's monotonic clock everywhere."""

    def __init__(self, placement: Placement, limits: Limits, expects_events: bool, now: float) -> None:
        self.ranks = {rank.name: rank for rank in placement.ranks}
        self.exits: dict[str, Json] = {}
        self.splitters = {name: LineSplitter() for name in self.ranks}
        self.ready: set[str] = set()
        self.lost_nodes: dict[str, str] = {}
        self.workers = [rank.name for rank in placement.ranks if rank.role == "worker"]
        self._ended: dict[str, float] = {}
        self._tails: dict[str, deque[str]] = {name: deque(maxlen=LAST_LINES) for name in self.ranks}
        self._explained: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._limits = limits
        self._expects_events = expects_events
        self._began = now
        self._heard = dict.fromkeys(self.ranks, now)
        self._started = dict.fromkeys(self.ranks, now)

    def take_output(self, name: str, now: float) -> None:
        """A rank printed something."""
        self._heard[name] = now

    def take_log(self, name: str, line: str) -> None:
        """A rank printed a line that is no event."""
        self._tails[name].append(line[:LONGEST_LINE])

    def take_event(self, name: str, event: Event) -> None:
        """A rank printed an event."""
        if event.kind == "ready":
            self.ready.add(name)
        if event.kind == "error":
            self._explained[name] = str(event.values.get("message", ""))

    def take_exit(self, name: str, state: Json, now: float) -> None:
        """A rank ended; `seconds_ago` is by its node's monotonic clock, so wall clocks that differ do not matter."""
        self.exits[name] = state
        self._stopped.discard(name)
        self._ended[name] = now - float(state.get("seconds_ago", 0.0))

    def ends(self) -> dict[str, End]:
        """How every rank that is known to have ended did."""
        return {name: End(state, self._ended[name] - self._began) for name, state in self.exits.items()}

    def take_successor(self, name: str, now: float) -> None:
        """Another process takes the place of a rank that ended, and has its own time to get ready."""
        del self.exits[name], self._ended[name]
        self.ready.discard(name)
        self._explained.pop(name, None)
        self.splitters[name] = LineSplitter()
        self._started[name] = self._heard[name] = now

    def take_stopped(self, followed: Iterable[str], names: Iterable[str]) -> None:
        """Of the living ranks `followed` (a node may have several followers), these were stopped by a signal."""
        self._stopped -= set(followed)
        self._stopped |= set(names)

    def take_lost(self, node: str, trouble: str) -> None:
        """A node is given up."""
        self.lost_nodes.setdefault(node, trouble)

    @property
    def all_ready(self) -> bool:
        """Whether every worker has been ready."""
        return set(self.workers) <= self.ready

    @property
    def workers_done(self) -> bool:
        """Whether every worker has ended."""
        return all(name in self.exits for name in self.workers)

    @property
    def all_done(self) -> bool:
        """Whether every rank has ended."""
        return len(self.exits) == len(self.ranks)

    @property
    def left(self) -> list[str]:
        """Ranks that have not ended, as far as is known."""
        return sorted(set(self.ranks) - set(self.exits))

    def failure(self, now: float) -> Failure | None:
        """The first failure, or None while all is well."""
        return self._failed_rank() or self._lost_node() or self._overdue(now)

    def _failed_rank(self) -> Failure | None:
        # How scheduler and servers end once the workers are done is no matter of the trial's result.
        candidates = self.workers if self.workers_done else list(self.exits)
        failed = [name for name in candidates if name in self.exits and describe_exit(self.exits[name])]
        if not failed:
            return None
        name = min(failed, key=self._ended.__getitem__)
        return replace(self._blame(name, describe_exit(self.exits[name])), ended=self.exits[name]["reason"] == "exit")

    def _lost_node(self) -> Failure | None:
        for node, trouble in self.lost_nodes.items():
            left = [name for name, rank in self.ranks.items() if rank.node.name == node and name not in self.exits]
            if left and not (self.workers_done and not set(left) & set(self.workers)):
                return Failure("", node, trouble)
        return None

    def _overdue(self, now: float) -> Failure | None:
        if self.workers_done:
            return None
        if self._limits.time is not None and now - self._began > self._limits.time:
            return Failure("", "trial", f"not done within the time limit of {self._limits.time:.0f} s")
        alive = [name for name in self.workers if name not in self.exits]
        if self._expects_events:
            waiting = [name for name in alive if name not in self.ready]
            late = [name for name in waiting if now - self._started[name] > self._limits.start]
            if late:
                return self._blame_one_of(late, f"did not get ready within {self._limits.start:.0f} s")
            alive = [name for name in alive if name in self.ready]
        if alive and self._limits.stall is not None:
            quietest = min(alive, key=lambda name: self._heard[name])
            if now - self._heard[quietest] > self._limits.stall:
                quiet = sorted(alive, key=lambda name: self._heard[name])
                return self._blame_one_of(quiet, f"no progress for {self._limits.stall:.0f} s")
        return None

    def _blame_one_of(self, names: list[str], how: str) -> Failure:
        """Blame the rank whose process was stopped, if there is one, also a server for which the workers wait."""
        for name in self.ranks:
            if name in self._stopped:
                return self._blame(name, f"{how}: its process is stopped (SIGSTOP)")
        return self._blame(names[0], how)

    def _blame(self, name: str, how: str) -> Failure:
        explained = self._explained.get(name)
        how = f"{how}: {explained}" if explained else how
        return Failure(name, self.ranks[name].node.name, how, tuple(self._tails[name]))


def describe_exit(state: Json) -> str:
    """How a rank ended, in words; empty where it ended well."""
    reason = state["reason"]
    fixed = {
        "start": f"could not be started: {state.get('message')}",
        "lost": f"vanished: {state.get('message')}",
        "lease": "was ended by its node: the harness was out of reach for longer than the lease",
        "time_limit": "was ended at the time limit",
    }
    full = state.get("disk_free_bytes")
    note = f" (its node's disk is full: {full} bytes free)" if full is not None else ""
    if reason in fixed:
        return fixed[reason] + note
    if reason != "stopped" and state.get("out_of_memory"):
        return "was killed: the node ran out of memory"
    if reason == "stopped":
        return "was stopped"
    if state.get("signal"):
        return f"was killed by {signal_name(state['signal'])}"
    return f"exited with status {state['code']}{note}" if state.get("code") else ""


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
