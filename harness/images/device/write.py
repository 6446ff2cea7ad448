"""Writes an image to one card, past the cache, and reads it back."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from harness.errors import BadInputError, ImageError
from harness.images.card import open_card
from harness.images.device.disk import Disk, Request, look, refusals

BLKROGET = 0x125E
BLKSSZGET = 0x1268
CHUNK_BYTES = 4 << 20


def _check(disk: Disk, request: Request, image_bytes: int) -> None:
    reasons = refusals(disk, request, image_bytes)
    if reasons:
        raise BadInputError(f"{request.device} will not be written: {'; '.join(reasons)}", "name the card's own device")


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    """Hold a block device for this process alone: the kernel refuses where anything uses it, and lets nobody mount it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as exc:
        raise BadInputError(f"{path} cannot be opened for writing: {exc.strerror}", "unmount it; run as root") from exc
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_image(request: Request) -> dict[str, Any]:
    """Describe the device, and where `request.write` is set and the confirmation right, write, read back and compare."""
    image_bytes = request.image.stat().st_size
    open_card(request.image)
    try:
        mode = request.device.stat().st_mode
    except OSError as exc:
        raise BadInputError(f"{request.device}: {exc.strerror}", "name the card's own device") from exc
    if not stat.S_ISBLK(mode):
        raise BadInputError(f"{request.device} is no block device", "name one of /dev/disk/by-id/")
    path = request.device.resolve(strict=True)  # once: what is checked below is what is written
    disk = look(path)
    _check(disk, request, image_bytes)
    if not request.write:
        return {**disk.describe(), "written_bytes": 0}
    if request.confirm != disk.token:
        raise BadInputError(
            f"{request.device} will not be written: {request.confirm!r} is not its serial",
            f"type {disk.token} to confirm",
        )
    with _held(path) as descriptor:
        again = look(path)
        if again != disk or _number(descriptor) != disk.number:
            raise BadInputError(f"{request.device} changed while it was checked", "run again")
        _check(again, request, image_bytes)
        if _ioctl_int(descriptor, BLKROGET):
            raise BadInputError(f"{request.device} is read-only", "slide the card's lock")
        block = _ioctl_int(descriptor, BLKSSZGET)
        with request.image.open("rb") as image:
            begin = time.monotonic()
            _copy(image, descriptor, block)
            os.fsync(descriptor)
            wrote = time.monotonic()
            _compare(image, descriptor, image_bytes, block, request.device)
    return {
        **disk.describe(),
        "written_bytes": image_bytes,
        "write_seconds": round(wrote - begin, 2),
        "verify_seconds": round(time.monotonic() - wrote, 2),
    }


def _number(descriptor: int) -> str:
    device = os.fstat(descriptor).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def _ioctl_int(descriptor: int, request: int) -> int:
    (value,) = struct.unpack("i", fcntl.ioctl(descriptor, request, b"\0" * 4))
    return int(value)


def _padded(count: int, block: int) -> int:
    return -(-count // block) * block


def _copy(image: BufferedReader, descriptor: int, block: int) -> None:
    """Copy past the page cache, so that what fsync confirms is the card's; the last block is filled with zeros."""
    buffer = mmap.mmap(-1, CHUNK_BYTES)  # direct I/O wants aligned memory
    with memoryview(buffer) as view:
        image.seek(0)
        offset = 0
        while count := image.readinto(view):
            end = _padded(count, block)
            view[count:end] = bytes(end - count)
            done = 0
            while done < end:
                done += os.pwrite(descriptor, view[done:end], offset + done)
            offset += end
    buffer.close()


def _compare(image: BufferedReader, descriptor: int, size: int, block: int, device: Path) -> None:
    buffer = mmap.mmap(-1, CHUNK_BYTES)
    with memoryview(buffer) as view:
        image.seek(0)
        offset = 0
        while expected := image.read(CHUNK_BYTES):
            wanted = _padded(len(expected), block)
            got = os.preadv(descriptor, [view[:wanted]], offset)
            if got < len(expected) or view[: len(expected)] != expected:
                raise ImageError(
                    f"{device} holds something else than was written, within {CHUNK_BYTES} B of byte {offset} of "
                    f"{size}",
                    "use another card or reader",
                )
            offset += len(expected)
    buffer.close()
