"""A block device as the kernel describes it, and every reason not to write to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInputError, ImageError
from harness.images.host import MAKE_IMAGES, run

COLUMNS = "NAME,PATH,TYPE,MAJ:MIN,RM,HOTPLUG,RO,SIZE,TRAN,VENDOR,MODEL,SERIAL,MOUNTPOINTS"
MAX_BYTES = 256 << 30  # a larger device is no card, unless told otherwise
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
            raise BadInputError(f"{image}: no such image", MAKE_IMAGES)
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
    except ImageError as exc:
        if "exit status 2" in exc.message:
            return ""
        raise
