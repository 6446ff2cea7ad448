"""The way to a node that is this machine: a local process."""

from __future__ import annotations

import contextlib
import io
import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import cast

from harness.errors import NodeError
from harness.nodes.stream import Stream, StreamClosedError
from harness.nodes.transport import Transport, transfer_seconds


class _LocalStream(Stream):
    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        os.set_blocking(cast(io.BufferedWriter, self._process.stdin).fileno(), False)

    def write(self, data: bytes) -> None:
        stdin = cast(io.BufferedWriter, self._process.stdin)
        left, until = memoryview(data), time.monotonic() + transfer_seconds(len(data))
        try:
            while left:
                _, writable, _ = select.select([], [stdin], [], max(0.0, until - time.monotonic()))
                if not writable:
                    raise StreamClosedError(
                        f"it did not take {len(data)} bytes within {transfer_seconds(len(data)):.0f} s"
                    )
                left = left[os.write(stdin.fileno(), left) :]
        except (OSError, ValueError) as error:
            raise StreamClosedError(str(error)) from None

    def _read(self, timeout: float) -> bytes:
        stdout = cast(io.BufferedReader, self._process.stdout)
        try:
            readable, _, _ = select.select([stdout], [], [], timeout)
        except ValueError as error:
            raise StreamClosedError(str(error)) from None
        if not readable:
            raise TimeoutError
        return stdout.read1(1 << 18)

    def errors(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        stderr = cast(io.BufferedReader, self._process.stderr)
        return stderr.read1(1 << 16).decode(errors="replace") if self._process.poll() is not None else ""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            cast(io.BufferedWriter, self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


class LocalTransport(Transport):
    """The node is this machine."""

    def open(self, command: Sequence[str]) -> Stream:
        """Start the command as a child process."""
        try:
            return _LocalStream(command)
        except OSError as error:
            raise NodeError(
                self.node.name, f"cannot run {command[0]}: {error}", "harness provision makes what nodes need"
            ) from None

    def close(self) -> None:
        """Nothing to drop."""

    def close_if_dead(self) -> None:
        """Nothing to drop."""
