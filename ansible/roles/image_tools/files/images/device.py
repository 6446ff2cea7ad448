"""Writes an image to one card, after refusing everything that might be something else than a card."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import re
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from harness.errors import BadInputError

from .card import open_card
from .host import StepError, run

BLKGETSIZE64 = 0x80081272
BLKROGET = 0x125E
BLKSSZGET = 0x1268
CHUNK_BYTES = 4 << 20
COLUMNS = "NAME,PATH,TYPE,MAJ:MIN,RM,HOTPLUG,RO,SIZE,TRAN,VENDOR,MODEL,SERIAL,MOUNTPOINTS"
MEMBERS = {
    "LVM2_member": "an LVM physical volume",
    "linux_raid_member": "a RAID member",
    "crypto_LUKS": "an encrypted volume",
    "swap": "swap space",
    "zfs_member": "a ZFS pool",
    "bcache": "a bcache device",
    "drbd": "a DRBD volume",
}


@dataclass(frozen=True)
class Request:
    """What to write where. Sizes in bytes; `confirm` is what the user typed."""

    image: Path
    device: Path
    max_bytes: int
    confirm: str
    allow_loop: bool
    write: bool

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Request:
        """A checked Request; BadInputError where it names no image, no device or several."""
        device = given.get("device")
        if not isinstance(device, str) or not device.strip():
            raise BadInputError("no device was named", "set image_write_device to one of /dev/disk/by-id/")
        if re.search(r"[\s,*?\[]", device):
            raise BadInputError(f"{device!r} does not name one device", "write one card a run")
        image = Path(str(given.get("image", "")))
        if not image.is_file():
            raise BadInputError(
                f"{image}: no such image", "make it first: ansible-playbook ansible/playbooks/image.yml"
            )
        return cls(
            image=image,
            device=Path(device),
            max_bytes=int(given["max_bytes"]),
            confirm=str(given.get("confirm", "") or ""),
            allow_loop=bool(given.get("allow_loop", False)),
            write=bool(given["write"]),
        )


@dataclass(frozen=True)
class Disk:
    """A block device as the kernel describes it, with what lies on it. `size` in bytes."""

    path: str
    number: str
    kind: str
    removable: bool
    transport: str
    read_only: bool
    size: int
    model: str
    serial: str
    uses: tuple[str, ...]

    @property
    def token(self) -> str:
        """What the user types to confirm: the serial, or name and size where the device has none."""
        return self.serial or f"{self.path.rsplit('/', 1)[-1]}-{self.size}"

    def describe(self) -> dict[str, Any]:
        """What is shown before writing."""
        return {
            "path": self.path,
            "model": self.model,
            "serial": self.serial,
            "confirm": self.token,
            "bytes": self.size,
        }


def parse_disk(listing: Mapping[str, Any], signatures: Mapping[str, str]) -> Disk:
    """The disk of lsblk's JSON for one device; `signatures` are file system types by path."""
    (top,) = listing["blockdevices"]
    uses: list[str] = []

    def walk(one: Mapping[str, Any]) -> None:
        path = str(one["path"])
        points = [str(point) for point in one.get("mountpoints") or () if point]
        uses.extend(
            f"{path} is in use as swap" if point == "[SWAP]" else f"{path} is mounted at {point}" for point in points
        )
        if one is not top and one["type"] != "part":
            uses.append(f"{path} ({one['type']}) is built on it")
        if signatures.get(path) in MEMBERS and not points:
            uses.append(f"{path} is {MEMBERS[signatures[path]]}")
        for child in one.get("children") or ():
            walk(child)

    walk(top)
    model = " ".join(str(top.get(name) or "").strip() for name in ("vendor", "model")).strip()
    return Disk(
        path=str(top["path"]),
        number=str(top["maj:min"]).strip(),
        kind=str(top["type"]),
        removable=bool(top["rm"]) or bool(top["hotplug"]),
        transport=str(top.get("tran") or ""),
        read_only=bool(top["ro"]),
        size=int(top["size"]),
        model=model or "(no model)",
        serial=str(top.get("serial") or "").strip(),
        uses=tuple(uses),
    )


def refusals(disk: Disk, request: Request, image_bytes: int) -> list[str]:
    """Every reason not to write to `disk`; empty where there is none."""
    is_card = disk.removable or disk.transport in ("usb", "mmc") or re.search(r"/mmcblk\d+$", disk.path) is not None
    loop = disk.kind == "loop" and request.allow_loop
    reasons = []
    if disk.kind != "disk" and not loop:
        reasons.append(f"it is no whole disk but {disk.kind}")
    elif not is_card and not loop:
        reasons.append("it is neither removable nor on USB or MMC")
    if disk.read_only:
        reasons.append("it is read-only")
    if disk.size < image_bytes:
        reasons.append(f"it has {disk.size} B, the image {image_bytes} B")
    if disk.size > request.max_bytes:
        reasons.append(f"it has {disk.size} B, more than the limit of {request.max_bytes} B (image_write_max_bytes)")
    return [*reasons, *disk.uses]


def look(path: Path) -> Disk:
    """Describe the block device at `path`."""
    listing = json.loads(run(["lsblk", "--json", "--bytes", "--tree", "--output", COLUMNS, path], limit_seconds=60))
    return parse_disk(listing, {name: _signature(name) for name in _paths(listing["blockdevices"])})


def _paths(devices: list[dict[str, Any]]) -> Iterator[str]:
    for one in devices:
        yield str(one["path"])
        yield from _paths(one.get("children") or [])


def _signature(path: str) -> str:
    """Type of what lies on a device, read from the device itself; blkid ends with 2 where it knows nothing."""
    try:
        return (
            run(["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", path], limit_seconds=60)
            .decode()
            .strip()
        )
    except StepError as exc:
        if "exit status 2" in exc.message:
            return ""
        raise


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
                raise StepError(
                    f"{device} holds something else than was written, within {CHUNK_BYTES} B of byte {offset} of "
                    f"{size}",
                    "use another card or reader",
                )
            offset += len(expected)
    buffer.close()
