"""A home of `online.py` that writes down every byte it sends: `sent.bin`, and the lengths in `sent.json`. Run by a test."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

directory = Path(os.environ["HARNESS_RANK"])
directory.mkdir()
content = (directory / "sent.bin").open("wb")
lengths: list[int] = []


class Written(socket.socket):
    """All that leaves through a socket, however it is sent."""

    def send(self, data: Any, *flags: int) -> int:
        """Write down what the kernel took."""
        sent = super().send(data, *flags)
        self._write(bytes(memoryview(data).cast("B")[:sent]))
        return sent

    def sendall(self, data: Any, *flags: int) -> None:
        """Write all of it down."""
        super().sendall(data, *flags)
        self._write(bytes(data))

    def sendto(self, *_: Any) -> int:
        """Nobody does."""
        raise NotImplementedError

    def sendmsg(self, *_: Any) -> int:
        """Nobody does."""
        raise NotImplementedError

    def sendfile(self, *_: Any) -> int:
        """Nobody does."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        content.write(data)
        lengths.append(len(data))


socket.socket = Written  # type: ignore[misc]

from training.online.home import work  # noqa: E402 - sockets first

work(sys.argv[1:])
content.close()
(directory / "sent.json").write_text(json.dumps(lengths))
