"""Stream what the ranks of a trial write, how they end and how the node is."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from stat import S_ISREG

from contract import wire

from .connection import send
from .files import LEASE, OUTPUT, Json, read_json
from .processes import boot_id, descendants, keeper_pid, lives, stat_fields
from .ranks import forget, trial_directory
from .telemetry.sampling import Telemetry

POLL_SECONDS = 0.2
BEAT_SECONDS = 1.0
STATE_BEATS = 4
# A keeper is a Python that starts on a board that may have a lot to do.
KEEPER_START_SECONDS = 30.0
# A disk with less is taken for full when a rank fails.
FULL_DISK_BYTES = 1 << 20


class Followed:
    """What one rank has written since an offset, and whether it lives.

    It is looked at several times a second beside a training that is measured: a look is two system calls.
    """

    def __init__(
        self,
        directory: Path,
        offset: int,
        checkpoint: str | None = None,
        files: Sequence[str] = (),
        before_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_end` is called once all of its output went out, and before its end is told."""
        self.directory = directory
        self.offset = offset
        self.ended = False
        self._checkpoint = str(directory / checkpoint) if checkpoint else None
        self._files = files
        self._before_end = before_end
        self._sent: tuple[int, int] | None = None
        self._exit = str(directory / "exit.json")
        self._output = -1
        self._state: Json | None = None
        self._since = time.monotonic()
        self._next_look = 0.0

    def forward(self) -> bool:
        """Send a piece of what is new, or the exit state once all of the output went out; True where there may be more."""
        if self._state is None and (time.monotonic() >= self._next_look or os.path.exists(self._exit)):  # noqa: PTH110
            self._next_look = time.monotonic() + BEAT_SECONDS
            self._state = self._exit_state()
        data = self._read()
        if data:
            send({"frame": wire.OUTPUT_FRAME, "rank": self.directory.name, "offset": self.offset}, data)
            self.offset += len(data)
        elif self._state:
            self.forward_checkpoint()
            self._forward_files()
            self._before_end()
            ended = self._state.pop("ended_monotonic", None)
            ago = time.monotonic() - ended if ended is not None else 0.0
            send({"frame": wire.EXIT_FRAME, "rank": self.directory.name, "seconds_ago": ago, **self._state})
            self.ended = True
        return bool(data)

    def forward_checkpoint(self) -> None:
        """Send the rank's checkpoint if it is another than the one sent last; it is only ever replaced as a whole."""
        if self._checkpoint is None:
            return
        with contextlib.suppress(OSError):
            found = os.stat(self._checkpoint, follow_symlinks=False)  # noqa: PTH116 - several times a second
            version = (found.st_ino, found.st_mtime_ns)
            fit = S_ISREG(found.st_mode) and 0 < found.st_size <= wire.CHECKPOINT_LIMIT_BYTES
            if version == self._sent or not fit:
                return
            with os.fdopen(os.open(self._checkpoint, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                data = file.read(wire.CHECKPOINT_LIMIT_BYTES)
            self._sent = version
            send({"frame": wire.CHECKPOINT_FRAME, "rank": self.directory.name}, data)

    def _forward_files(self) -> None:
        """Send the files that the rank was to leave, those that are there; of one that is too large only its size."""
        for name in self._files:
            with contextlib.suppress(OSError):
                descriptor = os.open(self.directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(descriptor, "rb") as file:
                    found = os.fstat(file.fileno())
                    if not S_ISREG(found.st_mode):
                        continue
                    data = file.read(wire.FILE_LIMIT_BYTES) if found.st_size <= wire.FILE_LIMIT_BYTES else b""
                frame = {"frame": wire.FILE_FRAME, "rank": self.directory.name, "name": name, "size": found.st_size}
                send(frame, data)

    def is_stopped(self) -> bool:
        """Whether the rank's process lives but was stopped (SIGSTOP): nothing but a look at it tells."""
        keeper = keeper_pid(self.directory)
        if keeper is None:
            return False
        return any(stat_fields(pid)[:1] == ["T"] for pid in [keeper, *descendants(keeper)])

    def _read(self) -> bytes:
        try:
            if self._output < 0:
                self._output = os.open(self.directory / OUTPUT, os.O_RDONLY)
            if os.fstat(self._output).st_size <= self.offset:
                return b""
            return os.pread(self._output, wire.CHUNK_BYTES, self.offset)
        except OSError:
            return b""

    def _exit_state(self) -> Json | None:
        """How the rank ended; None while it lives."""
        keeper = read_json(self.directory / "keeper.json")
        alive = lives(keeper)
        # Read after the look at the keeper: it writes this last of all.
        state = read_json(self.directory / "exit.json")
        if state is None:
            starting = keeper is None and time.monotonic() - self._since <= KEEPER_START_SECONDS
            if alive or starting:
                return None
            message = "its keeper ended without a word"
            if keeper is None:
                message = f"its keeper did not start within {KEEPER_START_SECONDS:.0f} s"
            elif keeper["boot_id"] != boot_id():
                message = "its node was rebooted"
            state = {"reason": wire.LOST, "code": None, "signal": None, "message": message}
        if state["reason"] == wire.LOST or state.get("code"):
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self.directory.parents[3]).free
                state["disk_free_bytes"] = free if free < FULL_DISK_BYTES else None
        return state


def follow(request: Json) -> None:
    """Stream output, exit states and telemetry until stdin closes.

    A byte on stdin renews the lease of every rank, and says that the harness is there; `q` says that it has everything, so
    that the trial's directory can go. `request["offsets"]` says where to go on: a stream that was cut continues without
    loss or repetition.
    """
    base = trial_directory(request)
    checkpoint = (request.get("checkpoint") or {}).get("file")
    keeps = (request.get("checkpoint") or {}).get("ranks", ())
    left: dict[str, Sequence[str]] = request.get("files") or {}
    telemetry = Telemetry(float(request.get("telemetry_seconds") or 0))

    def tell(sample: Json | None) -> None:
        if sample:
            send({"frame": wire.TELEMETRY_FRAME, **sample})

    ranks = [
        # What a rank said at last belongs to a sample after it.
        Followed(
            base / name,
            offset,
            checkpoint if name in keeps else None,
            left.get(name, ()),
            lambda: tell(telemetry.last()),
        )
        for name, offset in request["offsets"].items()
    ]
    os.set_blocking(sys.stdin.fileno(), False)
    last_beat = 0.0
    beats = 0
    stopped: list[str] = []
    heard = time.monotonic()
    more = False
    while time.monotonic() - heard < request["lease_seconds"]:
        # One piece of every rank in turn: a rank that floods its log must not keep this loop from anything else.
        readable, _, _ = select.select([sys.stdin], [], [], 0 if more else POLL_SECONDS)
        if readable:
            data = sys.stdin.buffer.read()
            if data == b"":
                return
            heard = time.monotonic()
            if wire.COLLECTED in data:
                forget(request)
                return
            with contextlib.suppress(OSError):
                os.utime(base / LEASE)
        running = [rank for rank in ranks if not rank.ended]
        more = sum([rank.forward() for rank in running]) > 0
        for rank in running:
            if not rank.ended:
                rank.forward_checkpoint()
        now = time.monotonic()
        if now - last_beat >= BEAT_SECONDS:
            last_beat = now
            beats += 1
            if beats % STATE_BEATS == 0:
                stopped = [rank.directory.name for rank in ranks if not rank.ended and rank.is_stopped()]
            send({"frame": wire.BEAT_FRAME, "stopped": stopped})
        tell(telemetry.sample(now))
