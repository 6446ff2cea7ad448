"""What a command on a node says: frames, each a JSON line and as many raw bytes as its `bytes` says."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod

from harness.contract import wire
from harness.contract.json_line import Json, parse_json_line

# A login shell may print before our command speaks (`echo` in ~/.bashrc); more than this is another program.
NOISE_LIMIT_BYTES = 1 << 16
SLOW_REMEDY = "is it overloaded, or its card or its power failing? log in there: uptime, dmesg"
SHELL_REMEDY = "print nothing in its ~/.bashrc or /etc/profile.d where no terminal is: [ -t 1 ] || return"


class StreamClosedError(Exception):
    """The other end of a stream is gone."""


class Stream(ABC):
    """A running command's stdin and stdout, read with a limit on every wait."""

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = False
        self.noise = b""
        """What the node's login shell printed before the first frame."""

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

    def read_frame(self, timeout: float, whole: float | None = None) -> tuple[Json, bytes] | None:
        """The next frame and its payload, or None at the end of the stream. What comes before the first is skipped.

        Raises TimeoutError when nothing came for `timeout` seconds, or the frame was not there after `whole` seconds (as long
        where it is not said): a node that sends a byte now and then is as silent as one that sends none. Raises
        StreamClosedError for a cut or what is no frame.
        """
        until = time.monotonic() + (timeout if whole is None else whole)
        frame = None
        while frame is None:
            while b"\n" not in self._buffer:
                if len(self._buffer) > wire.FRAME_LIMIT_BYTES:
                    raise StreamClosedError(
                        f"the node sent no frame but {len(self._buffer)} bytes without an end of line"
                    )
                if not self._fill(timeout, until):
                    self._refuse_a_cut()
                    return None
            frame = self._parse()
        size = frame.get("bytes", 0)
        if not isinstance(size, int) or not 0 <= size <= wire.FRAME_LIMIT_BYTES:
            raise StreamClosedError(f"the node sent a frame of {str(size)[:200]} bytes")
        while len(self._buffer) < size:
            if not self._fill(timeout, until):
                raise StreamClosedError("cut in the middle of a frame")
        payload, self._buffer = self._buffer[:size], self._buffer[size:]
        return frame, payload

    def _parse(self) -> Json | None:
        """Take a line: the frame that it is, None for what a login shell says before the first."""
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            frame = parse_json_line(line)
        except ValueError:
            self.noise += line + b"\n"
            if self._begun or len(self.noise) > NOISE_LIMIT_BYTES:
                raise StreamClosedError(f"the node sent no frame but {line[:200]!r}") from None
            return None
        self._begun = True
        return frame

    def _refuse_a_cut(self) -> None:
        """Raise StreamClosedError unless the stream ended behind a frame, or without a word."""
        self._refuse_noise()
        if self._buffer:
            raise StreamClosedError("cut in the middle of a frame")

    def _refuse_noise(self) -> None:
        """Raise StreamClosedError where something came, but no frame before it."""
        if not self._begun and (self.noise or self._buffer):
            raise StreamClosedError(f"the node sent no frame but {(self.noise + self._buffer)[:200]!r}")

    def _fill(self, timeout: float, until: float) -> bool:
        left = until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            data = self._read(min(timeout, left))
        except TimeoutError:
            if self.noise:
                self._refuse_noise()
            raise
        self._buffer += data
        return bool(data)
