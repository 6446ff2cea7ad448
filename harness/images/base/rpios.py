"""The Raspberry Pi OS base: the user's official image, verified, unpacked and looked into."""

from __future__ import annotations

import lzma
import re
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError
from harness.images.card import Card, ext_exists, ext_read, fat_list, open_card
from harness.images.host import CHUNK_BYTES, lock, require_space, run
from harness.system.files import sha256_file, whole
from harness.system.packages import require

SHA256 = re.compile(r"[0-9a-f]{64}")
ISSUE = "/etc/rpi-issue"  # a file that only Raspberry Pi OS has
CLOUD_INIT = "cloud-init"
FIRSTRUN = "firstrun"
PAGE_BYTES = 4096


@dataclass(frozen=True)
class System:
    """What an image holds: its name, how it takes its first-boot settings, and where it mounts the boot partition."""

    name: str
    mechanism: str
    boot_mount: str


def unpack(archive: Path, sha256: str, cache: Path) -> tuple[Path, bool, float]:
    """Unpack a verified `.img.xz`, or find it in `cache`: (path, made now, seconds)."""
    begin = time.monotonic()
    if not SHA256.fullmatch(sha256):
        raise BadInputError(
            f"{sha256!r} is no SHA-256", "set image_base_rpios_sha256 to the 64 digits published beside the download"
        )
    image = cache / f"rpios-{sha256[:16]}.img"
    with lock(image):
        if image.is_file():
            return image, False, time.monotonic() - begin
        if not archive.is_file():
            raise BadInputError(
                f"{archive}: no such file", "set image_base_rpios_archive to the .img.xz you downloaded"
            )
        actual = sha256_file(archive)
        if actual != sha256:
            raise BadInputError(f"{archive} has SHA-256 {actual}, expected {sha256}", "download it again")
        size = unpacked_bytes(archive)
        require_space(cache, size, f"unpacking {archive.name}")
        with whole(image) as temporary:
            _unpack(archive, temporary)
            inspect(open_card(temporary))
    return image, True, time.monotonic() - begin


def unpacked_bytes(archive: Path) -> int:
    """Size of the unpacked content, from the archive's index; BadInputError for a truncated file."""
    require("xz")
    try:
        listing = run(["xz", "--robot", "--list", archive], limit_seconds=60).decode()
    except Exception as exc:
        raise BadInputError(f"{archive.name} is no whole .xz file: {exc}", "download it again") from exc
    totals = next(line.split("\t") for line in listing.splitlines() if line.startswith("totals"))
    return int(totals[4])


def _unpack(archive: Path, target: Path) -> None:
    try:
        with lzma.open(archive) as read, target.open("xb") as write:
            while chunk := read.read(CHUNK_BYTES):
                if chunk.count(0) == len(chunk):
                    write.seek(len(chunk), 1)  # a hole: empty parts cost no space
                else:
                    write.write(chunk)
            write.truncate(write.tell())
    except (lzma.LZMAError, EOFError) as exc:
        raise BadInputError(f"{archive.name} cannot be unpacked: {exc}", "download it again") from exc


def inspect(card: Card) -> System:
    """Look into an image; BadInputError when it is none that is known to take first-boot settings."""
    release = ext_read(card, "/etc/os-release")
    if release is None:
        raise BadInputError(
            f"{card.path.name} holds no system: no /etc/os-release", "name an image of Raspberry Pi OS Lite"
        )
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release.decode(errors="replace"), re.MULTILINE))
    name = f"{fields.get('PRETTY_NAME', fields.get('ID', 'unnamed'))}"
    if not ext_exists(card, ISSUE):
        raise BadInputError(
            f"{card.path.name} holds {name}, not Raspberry Pi OS", "name an image of Raspberry Pi OS Lite"
        )
    if not ext_exists(card, "/usr/lib/ld-linux-aarch64.so.1"):
        raise BadInputError(
            f"{card.path.name} holds a 32-bit {name}", "use the 64-bit image: MXNet has no 32-bit wheel"
        )
    mount = boot_mount((ext_read(card, "/etc/fstab") or b"").decode(errors="replace"))
    if "cmdline.txt" not in fat_list(card):
        raise BadInputError(f"{card.path.name}: no cmdline.txt on its boot partition", "use an unmodified image")
    return System(name, _mechanism(card, name), mount)


def _mechanism(card: Card, name: str) -> str:
    if ext_exists(card, "/usr/bin/cloud-init"):
        return CLOUD_INIT
    needed = ("/usr/lib/raspberrypi-sys-mods/imager_custom", "/usr/lib/userconf-pi/userconf")
    if all(ext_exists(card, path) for path in needed):
        return FIRSTRUN
    raise BadInputError(
        f"{card.path.name} holds {name}, which has neither cloud-init nor Raspberry Pi's first-run tools",
        "use Raspberry Pi OS Lite 64-bit, Bookworm or later",
    )


def boot_mount(fstab: str) -> str:
    """Where an fstab mounts the FAT partition."""
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[2] == "vfat" and fields[1].startswith("/boot"):
            return fields[1]
    return "/boot/firmware"
