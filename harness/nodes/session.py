"""The ways to a cluster's nodes, kept for the length of a command, and questions to all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import BadInputError, NodeError
from harness.nodes.inventory import Cluster, Node
from harness.nodes.local import LocalTransport
from harness.nodes.namespace import enter_network_namespace
from harness.nodes.ssh import SshTransport
from harness.nodes.stream import SLOW_REMEDY, Stream
from harness.nodes.transport import Transport

# Longer than all that is asked of a node in turn may take: to connect, to take code, to answer.
ANSWER_SECONDS = 180.0


class Session:
    """Transports to nodes, opened when first needed and kept for the length of a command."""

    def __init__(self, cluster: Cluster) -> None:
        if cluster.network_namespace:
            enter_network_namespace(cluster.network_namespace)
        self._transports: dict[str, Transport] = {}
        self._parked: dict[str, Stream] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to(self, node: Node) -> Transport:
        """The transport to a node."""
        if node.name not in self._transports:
            self._transports[node.name] = LocalTransport(node) if node.local else SshTransport(node)
        transport = self._transports[node.name]
        transport.node = node  # more may be known of it than when the connection was made
        return transport

    def park(self, node: Node, stream: Stream) -> None:
        """Keep a node's waiting agent for whoever asks it next."""
        earlier, self._parked[node.name] = self._parked.get(node.name), stream
        if earlier:
            earlier.close()

    def unpark(self, node: Node) -> Stream | None:
        """A node's waiting agent, if there is one."""
        return self._parked.pop(node.name, None)

    def close(self) -> None:
        """Drop every connection."""
        for stream in self._parked.values():
            stream.close()
        self._parked.clear()
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()


def on_all(
    nodes: Sequence[Node], action: Callable[[Node], Any], limits: Mapping[str, float] | None = None
) -> Iterator[tuple[Node, Any]]:
    """Call `action(node)` for all nodes at once; yields each node with its result or its NodeError, in order.

    `limits` says by node for how many seconds its result is waited for, ANSWER_SECONDS where it does not. The threads are
    daemons: a node that hangs does not keep an interrupted harness from ending.
    """
    if not nodes:
        raise BadInputError("no nodes")
    began = time.monotonic()
    calls = [_Call(action, node) for node in nodes]
    for call in calls:
        call.start()
    for node, call in zip(nodes, calls, strict=True):
        limit = (limits or {}).get(node.name, ANSWER_SECONDS)
        call.join(max(0.0, began + limit - time.monotonic()))
        if call.is_alive():
            yield node, NodeError(node.name, f"no answer within {limit:.0f} s", SLOW_REMEDY)
        elif call.fault is not None and not isinstance(call.fault, NodeError):
            raise call.fault
        else:
            yield node, call.fault or call.result


class _Call(threading.Thread):
    """One call in a thread of its own, with what came of it."""

    def __init__(self, action: Callable[[Node], Any], node: Node) -> None:
        super().__init__(name=f"ask-{node.name}", daemon=True)
        self._action = action
        self._node = node
        self.result: Any = None
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self._action(self._node)
        except Exception as error:
            self.fault = error
