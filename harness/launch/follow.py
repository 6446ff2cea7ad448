"""Follows one node's ranks over a connection that may be cut, and hands on what they say, in order and once."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field

from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import NodeError
from harness.launch.limits import Limits
from harness.nodes.agent import agent_command
from harness.nodes.inventory import Node
from harness.nodes.stream import Stream, StreamClosedError
from harness.nodes.transport import Transport

RECONNECT_PAUSE_SECONDS = 1.0
START_REPLY_SECONDS = 45.0
# The lease is renewed so many times in its length.
RENEWALS = 8
# Nothing that a node tells of took longer: 30 years.
LONGEST_SECONDS = 1e9
# Nor is a file of theirs as large: a petabyte.
LARGEST_FILE_BYTES = 1 << 50


@dataclass(frozen=True)
class Message:
    """What a follower saw: a frame, trouble with the connection, or that it gave up (`fatal`)."""

    node: Node
    frame: Json = field(default_factory=dict)
    payload: bytes = b""
    trouble: str = ""
    fatal: bool = False
    followed: frozenset[str] = frozenset()
    """The follower's ranks that had not ended: with a frame."""


class AgentError(Exception):
    """The agent said that it cannot go on, or said what no agent says; asking again would not help."""


class Follower(threading.Thread):
    """Starts one node's ranks and follows them, reconnecting where the connection is cut."""

    def __init__(
        self,
        transport: Transport,
        code: str,
        request: Json,
        limits: Limits,
        inbox: queue.Queue[Message],
        payload: bytes = b"",
    ) -> None:
        super().__init__(name=f"follow-{transport.node.name}", daemon=True)
        self.node = transport.node
        self.trial = str(request.get("trial"))
        self._transport = transport
        self._code = code
        self._request = request
        self._payload = payload
        self._limits = limits
        self._inbox = inbox
        self._offsets: dict[str, int] = {rank["name"]: 0 for rank in request["ranks"]}
        self._left = set(self._offsets)
        self._launched = False
        self._heard = self._began = time.monotonic()
        self._cut = False
        self._stopping = threading.Event()

    def finish(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def silent_for(self, now: float) -> float:
        """Seconds since the node was last heard, once its ranks were started; 0 before, and once all have ended."""
        return now - self._heard if self._launched and self._left else 0.0

    def starting_for(self, now: float) -> float:
        """Seconds since the node was asked to start its ranks; 0 once it said that it has."""
        return 0.0 if self._launched else now - self._began

    def excuse(self, now: float) -> None:
        """The harness itself stood still: the node's silence is counted from now on."""
        self._heard = self._began = now

    def run(self) -> None:
        """Follow until asked to finish, or until the node is given up."""
        while not self._stopping.is_set():
            try:
                self._follow_once()
            except AgentError as error:
                self._say(str(error), fatal=True)
                return
            except TimeoutError:
                waited = self._limits.silence if self._launched else START_REPLY_SECONDS
                self._bear(f"silent for {waited:.0f} s")
            except (NodeError, StreamClosedError, OSError) as error:
                self._bear(getattr(error, "message", "") or str(error) or type(error).__name__)
            except Exception as error:
                self._say(f"following it failed: {type(error).__name__}: {error}", fatal=True)
                return

    def _bear(self, text: str) -> None:
        """Note trouble with the connection; the launcher decides when the node is out of reach for too long."""
        if self._stopping.is_set():
            return
        if not self._launched:
            self._say(f"could not start its ranks: {text}", fatal=True)
            self._stopping.set()
            return
        if not self._cut:
            self._cut = True
            self._say(f"connection lost ({text}); trying again for {self._limits.outage:.0f} s")
        self._stopping.wait(RECONNECT_PAUSE_SECONDS)

    def _say(self, text: str, fatal: bool = False) -> None:
        self._put(Message(self.node, trouble=text, fatal=fatal))

    def _put(self, message: Message) -> None:
        """Hand on; where the launcher is slow, wait for it: that slows the node's stream, and nothing is dropped."""
        while True:
            try:
                self._inbox.put(message, timeout=1)
            except queue.Full:
                if self._stopping.is_set():
                    return
                self._heard = time.monotonic()
            else:
                return

    def _follow_once(self) -> None:
        """Follow until asked to finish; raises where the stream is cut."""
        verb = wire.FOLLOW if self._launched else wire.RUN
        stream = self._transport.open(agent_command(self.node, self._code, verb))
        cut = True
        try:
            if not self._stopping.is_set():
                payload = b"" if self._launched else self._payload
                # Not of ranks that ended: told again, it would be taken for the end of who took the place since.
                offsets = {name: self._offsets[name] for name in self._offsets if name in self._left}
                stream.send_line({**self._request, "offsets": offsets}, payload)
                self._read_frames(stream)
            if not self._left:
                # It has all of it: the agent removes the trial's directory.
                stream.write(wire.COLLECTED)
            cut = False
        finally:
            stream.close()
            if cut:
                self._transport.close_if_dead()

    def _read_frames(self, stream: Stream) -> None:
        renewed = 0.0
        while self._left and not self._stopping.is_set():
            # Starting units takes the node longer than a beat.
            silence = self._limits.silence if self._launched else START_REPLY_SECONDS
            found = stream.read_frame(silence, max(silence, self._limits.outage))
            if found is None:
                raise StreamClosedError(stream.errors().strip()[-300:] or "the agent ended")
            self._heard = time.monotonic()
            self._take(*found)
            if self._heard - renewed > self._limits.lease / RENEWALS:
                renewed = self._heard
                stream.write(wire.RENEW)
        if not self._left:
            self._stopping.set()

    def _take(self, frame: Json, payload: bytes) -> None:
        self._check(frame)
        kind = frame.get("frame")
        if self._cut:
            self._cut = False
            self._say("connected again")
        if kind == wire.STARTED_FRAME:
            self._launched = True
            self._left -= set(frame["failed"])
        elif kind == wire.OUTPUT_FRAME:
            self._offsets[frame["rank"]] += len(payload)
        elif kind == wire.EXIT_FRAME:
            self._left.discard(frame["rank"])
        self._put(Message(self.node, frame, payload, followed=frozenset(self._left)))

    def _check(self, frame: Json) -> None:
        """Raise AgentError for what no agent of ours says: a node may not write where it wants, nor stop the sweep."""
        kind = frame.get("frame")
        if not isinstance(frame.get("rank", ""), str):
            raise AgentError(f"its agent sent {str(kind)[:80]} of {str(frame['rank'])[:80]}, which names no rank")
        if kind == wire.ERROR_FRAME:
            raise AgentError(f"its agent failed: {frame.get('error')}")
        if kind in (wire.OUTPUT_FRAME, wire.EXIT_FRAME) and frame.get("rank") not in self._offsets:
            raise AgentError(f"its agent sent {kind} of {frame.get('rank')!r}, which is no rank of this node")
        if kind == wire.CHECKPOINT_FRAME and frame.get("rank") not in (self._request.get("checkpoint") or {}).get(
            "ranks", ()
        ):
            raise AgentError(f"its agent sent a checkpoint of {frame.get('rank')!r}, which nobody asked for")
        if kind == wire.FILE_FRAME and not self._asked_for(frame):
            raise AgentError(f"its agent sent file {str(frame.get('name'))[:80]!r}, which nobody asked for")
        if kind == wire.OUTPUT_FRAME and frame.get("offset") != self._offsets[frame["rank"]]:
            raise AgentError(f"its agent sent output of {frame['rank']} from byte {frame.get('offset')!r}")
        if kind == wire.EXIT_FRAME and not is_exit(frame):
            raise AgentError(f"its agent sent an exit state that is none: {str(frame)[:200]}")
        if kind == wire.BEAT_FRAME and not self._are_ours(frame.get("stopped", []), list):
            raise AgentError(f"its agent saw what is no rank of this node stopped: {str(frame)[:200]}")
        if kind == wire.STARTED_FRAME and not self._are_ours(frame.get("failed"), dict):
            raise AgentError(f"its agent started what is no rank of this node: {str(frame)[:200]}")

    def _asked_for(self, frame: Json) -> bool:
        """Whether a rank was to leave a file of this name, and its size is one."""
        files = (self._request.get("files") or {}).get(frame.get("rank"), ())
        size = frame.get("size")
        return frame.get("name") in files and isinstance(size, int) and 0 <= size < LARGEST_FILE_BYTES

    def _are_ours(self, names: object, kind: type[list[str]] | type[dict[str, str]]) -> bool:
        """Whether these are names of ranks of this node, in a list or a dictionary."""
        return isinstance(names, kind) and all(isinstance(name, str) and name in self._offsets for name in names)


def is_exit(frame: Json) -> bool:
    """Whether a frame is an exit state with values that can be worked with."""
    numbers = [frame.get("code"), frame.get("signal")]
    ago = frame.get("seconds_ago", 0.0)
    return (
        isinstance(frame.get("reason"), str)
        and all(number is None or isinstance(number, int) for number in numbers)
        and isinstance(ago, int | float)
        and abs(ago) <= LONGEST_SECONDS
    )
