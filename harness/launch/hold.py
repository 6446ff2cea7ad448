"""Holds the nodes of a cluster for one harness, so that two sweeps never measure each other.

And notices that the harness itself stood still: it was stopped, or its machine slept. Then silence is not the nodes' fault, and
a hold may be over.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Sequence

from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import EXIT_TRIALS_FAILED, BadInputError, HarnessError, NodeError
from harness.launch.limits import Limits
from harness.nodes.agent import CHECK_REMEDY, agent_command
from harness.nodes.inventory import Node
from harness.nodes.session import Session, on_all
from harness.nodes.stream import SLOW_REMEDY, Stream, StreamClosedError
from harness.nodes.transport import REPLY_TIMEOUT_SECONDS

RETRY_SECONDS = 5.0
NOTICED_SECONDS = 5.0
"""A shorter standstill is a busy machine."""
CONFIRM_SECONDS = 10.0
WAIT_REMEDY = "wait for it, or stop it there"


class HeldByAnotherError(NodeError):
    """A node is another harness's."""


class HoldLostError(HarnessError):
    """A node that was held became another harness's: what runs there now is not ours to measure beside."""

    exit_code = EXIT_TRIALS_FAILED


def this_harness() -> str:
    """Names this process to the users of other machines."""
    return f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"


class Hold:
    """Keeps nodes held while it is entered; a node that was out of reach is held again when it is back.

    A hold ends where it is not renewed for the length of a lease. Where another harness has taken the node by then, `check`
    says so.
    """

    def __init__(self, session: Session, nodes: Sequence[Node], code: str, run: str) -> None:
        self._session = session
        self._nodes = nodes
        self._code = code
        self._run = run
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lost: dict[str, str] = {}
        self._renewed = dict.fromkeys((node.name for node in nodes), 0.0)
        self._hurry = {node.name: threading.Event() for node in nodes}
        self._standstill = Standstill()

    def __enter__(self) -> Hold:
        """Take the nodes. Raises BadInputError that names the holder where one is another's."""
        streams: list[tuple[Node, Stream]] = []
        for node, answer in on_all(self._nodes, self._take):
            if isinstance(answer, NodeError):
                for _, stream in streams:
                    stream.close()
                raise BadInputError(answer.message, answer.remedy)
            streams.append((node, answer))
        for node, stream in streams:
            thread = threading.Thread(target=self._keep, args=(node, stream), name=f"hold-{node.name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for hurry in self._hurry.values():
            hurry.set()
        for thread in self._threads:
            thread.join(1)

    def check(self) -> None:
        """Raise HoldLostError where a node is another harness's now; asks the nodes where this harness stood still."""
        if self._standstill.seconds():
            self._confirm()
        for text in list(self._lost.values()):
            raise HoldLostError(
                f"{text} now: this harness was out of its reach for longer than {Limits.lease:.0f} s, and lost its hold",
                "wait for the other, then go on: harness sweep --resume RUN",
            )

    def _confirm(self) -> None:
        """Have every node say that it is still held; one out of reach is not waited for."""
        began = time.monotonic()
        for hurry in self._hurry.values():
            hurry.set()
        while time.monotonic() - began < CONFIRM_SECONDS and not self._lost:
            if min(self._renewed.values()) > began:
                return
            time.sleep(0.05)

    def _take(self, node: Node) -> Stream:
        """An open stream that holds a node. Raises NodeError where it is another's, or out of reach."""
        transport = self._session.to(node)
        stream = self._session.unpark(node) or transport.open(agent_command(node, self._code, wire.HOLD))
        try:
            stream.send_line(
                {
                    "root": node.root,
                    "node": node.name,
                    "run": self._run,
                    "harness": this_harness(),
                    "lease_seconds": Limits.lease,
                }
            )
            found = stream.read_frame(REPLY_TIMEOUT_SECONDS)
            frame: Json = found[0] if found else {"error": stream.errors().strip()[-300:] or "no answer"}
        except (TimeoutError, StreamClosedError) as error:
            stream.close()
            raise NodeError(node.name, f"could not be held: {error or 'no answer'}", SLOW_REMEDY) from None
        if frame.get("frame") == wire.HELD_FRAME:
            return stream
        stream.close()
        if frame.get("frame") == wire.REFUSED_FRAME:
            raise HeldByAnotherError(node.name, describe_holder(frame.get("holder")), WAIT_REMEDY)
        raise NodeError(node.name, f"could not be held: {frame.get('error')}", CHECK_REMEDY)

    def _keep(self, node: Node, stream: Stream | None) -> None:
        hurry = self._hurry[node.name]
        while True:
            hurry.wait(Limits.lease / 6 if stream else RETRY_SECONDS)
            hurry.clear()
            if self._ended.is_set():
                break
            asked = time.monotonic()
            try:
                stream = stream or self._take(node)
                stream.write(wire.RENEW)
                if stream.read_frame(CONFIRM_SECONDS) is None:
                    raise StreamClosedError("it ended")
                self._renewed[node.name] = asked
            except HeldByAnotherError as error:
                self._lost[node.name] = error.message
                return
            except (StreamClosedError, NodeError, OSError):  # a TimeoutError too
                if stream:
                    stream.close()
                    hurry.set()  # try again at once
                stream = None
        if stream:
            stream.close()


def describe_holder(holder: object) -> str:
    """Who holds a node, in words; `holder` is what the node said."""
    said = holder if isinstance(holder, dict) else {}
    return f"is held by run {said.get('run', '?')} ({said.get('harness', 'another harness')})"


class Standstill:
    """Looked at several times a second; by a clock that goes on while the machine sleeps."""

    def __init__(self) -> None:
        self._last = _now()

    def seconds(self) -> float:
        """How long nobody looked, 0.0 for a time that is not worth noticing."""
        before, self._last = self._last, _now()
        stood = self._last - before
        return stood if stood > NOTICED_SECONDS else 0.0


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
