"""One way to run a command on a node; nothing above knows whether it is SSH or a local process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from harness.contract.json_line import Json
from harness.errors import NodeError
from harness.nodes.inventory import Node
from harness.nodes.stream import SHELL_REMEDY, SLOW_REMEDY, Stream, StreamClosedError

REPLY_TIMEOUT_SECONDS = 60
SLOWEST_BYTES_PER_SECOND = 1 << 18
"""A node that takes less does not take part in a trial either."""


def transfer_seconds(size: int) -> float:
    """How long a node may need to take so many bytes."""
    return REPLY_TIMEOUT_SECONDS + size / SLOWEST_BYTES_PER_SECOND


class Transport(ABC):
    """A way to one node."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @abstractmethod
    def open(self, command: Sequence[str]) -> Stream:
        """Start a command and return its streams; raises NodeError."""

    def sessions(self, most: int) -> int:
        """How many further commands may run at once, of those that were asked for. Raises NodeError."""
        return most

    @abstractmethod
    def close(self) -> None:
        """Drop the connection."""

    @abstractmethod
    def close_if_dead(self) -> None:
        """Drop a connection over which a command's stream was cut, so that the next command makes a new one."""

    def request(
        self, command: Sequence[str], message: Json, payload: bytes = b"", timeout: float = REPLY_TIMEOUT_SECONDS
    ) -> Json:
        """Run a command that reads one JSON line (and `payload`) and answers one.

        Raises NodeError when it does not answer in time, or answers something else.
        """
        stream = self.open(command)
        try:
            stream.send_line(message, payload)
            found = stream.read_frame(timeout)
            if found is None:
                raise StreamClosedError(stream.errors().strip()[-500:] or "no answer")
        except TimeoutError:
            raise NodeError(self.node.name, f"no answer within {timeout:.0f} s", SLOW_REMEDY) from None
        except StreamClosedError as error:
            remedy = SHELL_REMEDY if stream.noise else "is the node provisioned? harness provision"
            raise NodeError(self.node.name, f"{error}", remedy) from None
        finally:
            stream.close()
        return found[0]
