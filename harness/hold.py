"""Holds the nodes of a cluster for one harness, so that two sweeps never measure each other."""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Sequence

from harness.agent import agent_command
from harness.errors import BadInputError, NodeError
from harness.inventory import Node
from harness.json_line import Json
from harness.launch_limits import Limits
from harness.stream import Stream, StreamClosedError
from harness.transport import REPLY_TIMEOUT_SECONDS, Session, on_all

RETRY_SECONDS = 5.0


def this_harness() -> str:
    """Names this process to the users of other machines."""
    return f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"


class Hold:
    """Keeps nodes held while it is entered; a node that was out of reach is held again when it is back."""

    def __init__(self, session: Session, nodes: Sequence[Node], code: str, run: str) -> None:
        self._session = session
        self._nodes = nodes
        self._code = code
        self._run = run
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

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
        for thread in self._threads:
            thread.join(1)

    def _take(self, node: Node) -> Stream:
        """An open stream that holds a node. Raises NodeError where it is another's, or out of reach."""
        transport = self._session.to(node)
        stream = self._session.unpark(node) or transport.open(agent_command(node, self._code, "hold"))
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
            raise NodeError(node.name, f"could not be held: {error or 'no answer'}") from None
        if frame.get("frame") == "held":
            return stream
        stream.close()
        if frame.get("frame") == "refused":
            raise NodeError(node.name, describe_holder(frame.get("holder") or {}), "wait for it, or stop it there")
        raise NodeError(node.name, f"could not be held: {frame.get('error')}")

    def _keep(self, node: Node, stream: Stream | None) -> None:
        while not self._ended.wait(Limits.lease / 6 if stream else RETRY_SECONDS):
            try:
                stream = stream or self._take(node)
                stream.write(b".")
            except (StreamClosedError, NodeError, OSError):
                if stream:
                    stream.close()
                stream = None
        if stream:
            stream.close()


def describe_holder(holder: Json) -> str:
    """Who holds a node, in words."""
    return f"is held by run {holder.get('run', '?')} ({holder.get('harness', 'another harness')})"
