"""The card: a FAT partition for the firmware and an ext4 partition for the system, made and changed without any mount."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInputError, ImageError
from harness.images.host import run

SECTOR = 512
MIB = 1 << 20
BOOT_START = 8192 * SECTOR  # 4 MiB: aligned to any card's erase blocks
BOOT_SIZE = 256 * MIB
LIMIT_SECONDS = 600
FAT_TYPES = ("b", "c", "e", "0b", "0c", "0e")
LINUX_TYPE = "83"


@dataclass(frozen=True)
class Card:
    """An image and where its two file systems begin and how long they are, in bytes."""

    path: Path
    boot_start: int
    boot_size: int
    root_start: int
    root_size: int

    @property
    def fat(self) -> str:
        """The FAT file system as mtools name it."""
        return f"{self.path}@@{self.boot_start}"

    @property
    def ext4(self) -> str:
        """The ext4 file system as e2fsprogs name it."""
        return f"{self.path}?offset={self.root_start}"


def partition_script(total_bytes: int) -> str:
    """sfdisk's script of a card of `total_bytes`."""
    boot, size, root = BOOT_START // SECTOR, BOOT_SIZE // SECTOR, (BOOT_START + BOOT_SIZE) // SECTOR
    rest = total_bytes // SECTOR - root
    return f"label: dos\nstart={boot}, size={size}, type=c, bootable\nstart={root}, size={rest}, type=83\n"


def root_bytes(content_bytes: int, files: int) -> int:
    """Size of a file system that holds the content with room for the first boot, in whole MiB."""
    needed = content_bytes + files * 4096 // 2 + 320 * MIB
    return (needed * 110 // 100 + MIB - 1) // MIB * MIB


def parse_table(path: Path, table: Mapping[str, Any]) -> Card:
    """The card of sfdisk's JSON; BadInputError when it is not a FAT partition followed by a Linux one that fit the file."""
    problem = "a FAT and a Linux partition"
    parts = table.get("partitiontable", {}).get("partitions", [])
    sector = int(table.get("partitiontable", {}).get("sectorsize", SECTOR))
    if len(parts) != 2:
        raise _not_a_card(path, f"{len(parts)} partitions where {problem} are expected")
    types = [str(part.get("type", "")).lower() for part in parts]
    if types[0] not in FAT_TYPES or types[1] != LINUX_TYPE:
        raise _not_a_card(path, f"partitions of type {types[0]} and {types[1]} where {problem} are expected")
    (boot, root) = ((int(part["start"]) * sector, int(part["size"]) * sector) for part in parts)
    end = max(boot[0] + boot[1], root[0] + root[1])
    if end > path.stat().st_size:
        raise _not_a_card(path, f"its partitions end at {end} B, the file has {path.stat().st_size} B: it is cut short")
    return Card(path, *boot, *root)


def _not_a_card(path: Path, what: str) -> BadInputError:
    return BadInputError(
        f"{path.name}: {what}", "use an unmodified Raspberry Pi OS Lite 64-bit image, or the base debian"
    )


def open_card(path: Path) -> Card:
    """Read the partition table of an image."""
    try:
        table = json.loads(run(["sfdisk", "--json", path], limit_seconds=60))
    except ImageError as exc:
        raise _not_a_card(path, "no partition table") from exc
    return parse_table(path, table)


def make_card(path: Path, root: Path, boot: Path, labels: tuple[str, str], root_size: int) -> None:
    """Make the image `path` from the trees of the root and the boot file system (under fakeroot: owners are as seen)."""
    total = BOOT_START + BOOT_SIZE + root_size
    with path.open("xb") as file:
        file.truncate(total)
    run(["sfdisk", "--quiet", path], stdin=partition_script(total).encode(), limit_seconds=60)
    # -s 4: without it a FAT of this size has had too few directory slots
    fat = ("-F", "32", "-s", "4", "-n", labels[0], f"--offset={BOOT_START // SECTOR}")
    run(["mkfs.vfat", *fat, path, str(BOOT_SIZE // 1024)], limit_seconds=60)
    ext4 = ("-q", "-F", "-m", "1", "-L", labels[1], "-E", f"offset={BOOT_START + BOOT_SIZE}", "-d")
    run(["mkfs.ext4", *ext4, root, path, f"{root_size // 1024}k"], limit_seconds=LIMIT_SECONDS)
    card = open_card(path)
    run(["mcopy", "-s", "-Q", "-i", card.fat, *sorted(boot.iterdir()), "::/"], limit_seconds=120)


def fat_read(card: Card, name: str) -> bytes | None:
    """A file of the boot partition, or None where it has none."""
    try:
        return run(["mcopy", "-n", "-i", card.fat, f"::/{name}", "-"], limit_seconds=60)
    except ImageError as exc:
        if "not found" in exc.message:
            return None
        raise


def fat_write(card: Card, files: Mapping[str, bytes]) -> None:
    """Write files to the root of the boot partition, replacing what has their names."""
    with tempfile.TemporaryDirectory(prefix="harness-fat-") as directory:
        paths = []
        for name, content in files.items():
            path = Path(directory) / name
            path.write_bytes(content)
            paths.append(path)
        run(["mcopy", "-o", "-Q", "-i", card.fat, *paths, "::/"], limit_seconds=60)


def fat_list(card: Card) -> list[str]:
    """Names in the root of the boot partition."""
    listing = run(["mdir", "-b", "-i", card.fat, "::/"], limit_seconds=60).decode(errors="replace")
    return sorted(line.removeprefix("::/").rstrip("/") for line in listing.splitlines() if line.strip())


def ext_read(card: Card, path: str) -> bytes | None:
    """A regular file of the root file system, following symbolic links, or None where it has none."""
    for _ in range(8):
        kind, target = _ext_stat(card, path)
        if kind == "regular":
            return run(["debugfs", "-R", f"cat {_quote(path)}", card.ext4], limit_seconds=60)
        if kind != "symlink":
            return None
        path = target if target.startswith("/") else f"{path.rsplit('/', 1)[0]}/{target}"
    return None


def ext_exists(card: Card, path: str) -> bool:
    """Whether the root file system has anything at `path`."""
    return _ext_stat(card, path)[0] != ""


def _ext_stat(card: Card, path: str) -> tuple[str, str]:
    said = run(["debugfs", "-R", f"stat {_quote(path)}", card.ext4], limit_seconds=60).decode(errors="replace")
    kind = re.search(r"Type: (\w+)", said)
    link = re.search(r'Fast link dest: "(.*)"', said)
    return (kind.group(1) if kind else "", link.group(1) if link else "")


def ext_write(card: Card, files: Mapping[str, tuple[bytes, int]], directories: Sequence[str] = ()) -> None:
    """Write files (content, permission bits) owned by root into the root file system; ImageError where one is not as asked.

    debugfs ends with 0 whatever happens, so what was written is read back.
    """
    with tempfile.TemporaryDirectory(prefix="harness-ext-") as directory:
        lines = [f"mkdir {_quote(name)}" for name in directories if not ext_exists(card, name)]
        for number, (name, (content, mode)) in enumerate(files.items()):
            source = Path(directory) / str(number)
            source.write_bytes(content)
            if ext_exists(card, name):
                lines.append(f"rm {_quote(name)}")
            lines.append(f"write {source} {_quote(name)}")
            fields = (("mode", f"0{0o100000 | mode:o}"), ("uid", "0"), ("gid", "0"))
            lines += [f"set_inode_field {_quote(name)} {field} {value}" for field, value in fields]
        script = Path(directory) / "script"
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run(["debugfs", "-w", "-f", script, card.ext4], limit_seconds=120)
    for name, (content, mode) in files.items():
        said = run(["debugfs", "-R", f"stat {_quote(name)}", card.ext4], limit_seconds=60).decode(errors="replace")
        right = re.search(rf"Mode:\s+0{mode:o}\b", said) and re.search(r"User:\s+0\s+Group:\s+0\b", said)
        if not right or ext_read(card, name) != content:
            raise ImageError(f"{card.path.name}: {name} was not written as asked", "check the disk and the base image")


def _quote(path: str) -> str:
    if '"' in path or "\n" in path:
        raise BadInputError(f"{path!r} cannot be a path in an image", "use letters, digits, . _ and -")
    return f'"{path}"'
