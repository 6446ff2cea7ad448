"""What is known of the ranks of a running trial, and what follows from it. Pure: time is an argument."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.contract import wire
from harness.contract.events import Event, LineSplitter
from harness.contract.json_line import Json
from harness.launch.limits import Limits
from harness.launch.placement import Placement, Rank

LAST_LINES = 20
LONGEST_LINE = 500
# Where one rank ends, those that it was connected to follow within moments, and nodes tell when with this accuracy.
SAME_TIME_SECONDS = 0.5
# How programs say that they were called wrongly: argparse, click and most others; EX_USAGE of sysexits.h.
REFUSALS = (2, 64)
# So soon after its start a rank has looked at its arguments, and at nothing that other ranks or nodes do.
REFUSAL_SECONDS = 30.0
# Python's own exit status 2: the file is not there, which is the node's fault.
_NO_FILE = "can't open file"


@dataclass(frozen=True)
class Failure:
    """Who failed first, how, and the last lines it printed; `rank` is empty where a whole node or the trial failed."""

    rank: str
    node: str
    how: str
    last_lines: tuple[str, ...] = ()
    ended: bool = False
    """Whether the rank's process ended by itself or was killed, and its node is there: neither we nor a limit ended it."""
    refused: bool = False
    """Whether the program would not have its arguments: it would not on any node, nor at another time."""
    against_node: bool = True
    """Whether it counts against the node: not where the program refused, a limit was reached, or somebody stopped it."""

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
        self.finishing = [rank.name for rank in placement.finishing]
        self._ended: dict[str, float] = {}
        self._tails: dict[str, deque[str]] = {name: deque(maxlen=LAST_LINES) for name in self.ranks}
        self._explained: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._limits = limits
        self._expects_events = expects_events
        self._began = now
        self._heard = dict.fromkeys(self.ranks, now)
        self._started = dict.fromkeys(self.ranks, now)

    def excuse(self, now: float) -> None:
        """The harness itself stood still: all silence is counted from now on."""
        for times in (self._heard, self._started):
            times.update((name, now) for name in times)

    def take_output(self, name: str, now: float) -> None:
        """A rank printed something."""
        self._heard[name] = now

    def take_log(self, name: str, line: str) -> None:
        """A rank printed a line that is no event."""
        self._tails[name].append(line[:LONGEST_LINE])

    def take_event(self, name: str, event: Event) -> None:
        """A rank printed an event."""
        if event.kind == wire.READY:
            self.ready.add(name)
        if event.kind == wire.ERROR:
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

    def expects_ready(self, rank: Rank) -> bool:
        """Whether this rank is to say when it is ready."""
        return self._expects_events and (rank.finishes or rank.declared.says_ready)

    @property
    def all_ready(self) -> bool:
        """Whether every rank that finishes has been ready."""
        return set(self.finishing) <= self.ready

    @property
    def finished(self) -> bool:
        """Whether every rank that finishes has ended, but for those that may be lost."""
        spared = self._spared()
        return all(name in self.exits or name in spared for name in self.finishing)

    @property
    def all_done(self) -> bool:
        """Whether every rank has ended."""
        return len(self.exits) == len(self.ranks)

    @property
    def left(self) -> list[str]:
        """Ranks that have not ended, as far as is known."""
        return sorted(set(self.ranks) - set(self.exits))

    def may_run(self, name: str) -> bool:
        """Whether something of a rank may still run: nobody saw how it ended, or not all that it started did."""
        state = self.exits.get(name)
        return state is None or state["reason"] == wire.LOST or bool(state.get("message"))

    def losses(self) -> dict[str, str]:
        """Ranks that failed or were lost and do not end the trial for that, each with who it was and how."""
        found = {}
        for name in sorted(self._spared()):
            node = self.ranks[name].node.name
            # As with failures: how ranks that serve end once the others are done is no matter.
            if name in self.finishing or not self.finished:
                how = describe_exit(self.exits[name]) if name in self.exits else self.lost_nodes[node]
                found[name] = str(self._blame(name, how))
        return found

    def failure(self, now: float) -> Failure | None:
        """The first failure, or None while all is well."""
        return self._failed_rank() or self._lost_node() or self._overdue(now)

    def _failed_rank(self) -> Failure | None:
        # How ranks that serve end once the others are done is no matter of the trial's result; that they failed before is.
        spared = self._spared()
        failed = [name for name in self.exits if name not in spared and self._has_failed(name)]
        if self.finished:
            last = max((self._ended[name] for name in failed if name in self.finishing), default=None)
            failed = [name for name in failed if last is not None and self._ended[name] <= last]
        if not failed:
            return None
        name = self._first_of(failed)
        state = self.exits[name]
        refused = self._refused(name)
        return replace(
            self._blame(name, describe_exit(state)),
            ended=state["reason"] == wire.EXITED,
            refused=refused,
            against_node=not refused and state["reason"] not in (wire.STOPPED, wire.TIME_LIMIT, wire.OUTPUT_LIMIT),
        )

    def _first_of(self, failed: list[str]) -> str:
        """Who failed first; of those that failed at about the same time, one that was killed: nobody's failure does that."""
        first = min(self._ended[name] for name in failed)
        near = [name for name in failed if self._ended[name] - first <= SAME_TIME_SECONDS]
        return min(near, key=lambda name: (self.exits[name].get("signal") != signal.SIGKILL, self._ended[name]))

    def _refused(self, name: str) -> bool:
        """Whether a rank ended as a program does that was called wrongly, before any rank had its work."""
        state = self.exits[name]
        ran = state.get("ran_seconds")
        return (
            state["reason"] == wire.EXITED
            and state.get("code") in REFUSALS
            and not self.ready
            and isinstance(ran, int | float)
            and ran < REFUSAL_SECONDS
            and not any(_NO_FILE in line for line in self._tails[name])
        )

    def _has_failed(self, name: str) -> bool:
        return name in self.exits and bool(describe_exit(self.exits[name]))

    def _is_lost(self, name: str) -> bool:
        return name not in self.exits and self.ranks[name].node.name in self.lost_nodes

    def _spared(self) -> set[str]:
        """Ranks that failed or were lost, of roles that may lose as many; one of a role must be left."""
        spared: set[str] = set()
        for role in {rank.role for rank in self.ranks.values() if rank.declared.may_die}:
            ranks = [name for name, rank in self.ranks.items() if rank.role == role]
            dead = [name for name in ranks if self._has_failed(name) or self._is_lost(name)]
            if len(dead) <= min(self.ranks[ranks[0]].declared.may_die, len(ranks) - 1):
                spared.update(dead)
        return spared

    def _lost_node(self) -> Failure | None:
        spared = self._spared()
        for node, trouble in self.lost_nodes.items():
            left = [name for name in self.ranks if self.ranks[name].node.name == node and self._is_lost(name)]
            left = [name for name in left if name not in spared]
            if left and not (self.finished and not set(left) & set(self.finishing)):
                return Failure("", node, trouble)
        return None

    def _overdue(self, now: float) -> Failure | None:
        if self.finished:
            return None
        if self._limits.time is not None and now - self._began > self._limits.time:
            return Failure("", "trial", f"not done within the time limit of {self._limits.time:.0f} s")
        alive = [name for name in self.finishing if name not in self.exits and not self._is_lost(name)]
        if self._expects_events:
            waiting = [name for name in alive if name not in self.ready]
            late = [
                name
                for name in waiting
                if now - self._started[name] > self._limits.start and self.ranks[name].declared.joins == "start"
            ]
            if late:
                return self._blame_one_of(late, f"did not get ready within {self._limits.start:.0f} s")
            alive = [name for name in alive if name in self.ready]
        stall = self._limits.silence_of_rank(self._expects_events)
        if alive and stall is not None:
            quietest = min(alive, key=lambda name: self._heard[name])
            if now - self._heard[quietest] > stall:
                quiet = sorted(alive, key=lambda name: self._heard[name])
                return self._blame_one_of(quiet, f"no progress for {stall:.0f} s")
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
        wire.NOT_STARTED: f"could not be started: {state.get('message')}",
        wire.LOST: f"vanished: {state.get('message')}",
        wire.LEASE_ENDED: "was ended by its node: the harness was out of reach for longer than the lease",
        wire.TIME_LIMIT: "was ended at the time limit",
        wire.OUTPUT_LIMIT: f"was ended: {state.get('message')}",
    }
    full = state.get("disk_free_bytes")
    note = f" (its node's disk is full: {full} bytes free)" if full is not None else ""
    if reason in fixed:
        return fixed[reason] + note
    if reason != wire.STOPPED and state.get("out_of_memory"):
        return "was killed: the node ran out of memory"
    if reason == wire.STOPPED:
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
