"""What a command on a node says: frames, each a JSON line and as many raw bytes as its `bytes` says."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from harness.json_line import Json, parse_json_line

# Frames are small; a node that claims a larger one speaks another protocol.
FRAME_LIMIT_BYTES = 8 << 20


class StreamClosedError(Exception):
    """The other end of a stream is gone."""


class Stream(ABC):
    """A running command's stdin and stdout, read with a limit on every wait."""

    def __init__(self) -> None:
        self._buffer = b""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes to the command; raises StreamClosedError."""

    def send_line(self, message: Json, payload: bytes = b"") -> None:
        """Send one JSON line, and bytes after it; raises StreamClosedError."""
        self.write(json.dumps(message).encode() + b"\n" + payload)

    @abstractmethod
    def _read(self, timeout: float) -> bytes:
        """At least one byte; b"" at the end; raises TimeoutError and StreamClosedError."""

    @abstractmethod
    def close(self) -> None:
        """End the stream; the command sees its stdin end."""

    @abstractmethod
    def errors(self) -> str:
        """What the command wrote to stderr, once stdout has ended."""

    def read_frame(self, timeout: float) -> tuple[Json, bytes] | None:
        """The next frame and its payload, or None at the end of the stream.

        Raises TimeoutError when nothing came for `timeout` seconds, StreamClosedError for a cut or what is no frame.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > FRAME_LIMIT_BYTES:
                raise StreamClosedError(f"the node sent no frame but {len(self._buffer)} bytes without an end of line")
            if not self._fill(timeout):
                if self._buffer:
                    raise StreamClosedError("cut in the middle of a frame")
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            frame = parse_json_line(line)
        except ValueError:
            raise StreamClosedError(f"the node sent no frame but {line[:200]!r}") from None
        size = frame.get("bytes", 0)
        if not isinstance(size, int) or not 0 <= size <= FRAME_LIMIT_BYTES:
            raise StreamClosedError(f"the node sent a frame of {str(size)[:200]} bytes")
        while len(self._buffer) < size:
            if not self._fill(timeout):
                raise StreamClosedError("cut in the middle of a frame")
        payload, self._buffer = self._buffer[:size], self._buffer[size:]
        return frame, payload

    def _fill(self, timeout: float) -> bool:
        data = self._read(timeout)
        self._buffer += data
        return bool(data)
