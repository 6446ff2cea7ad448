"""The base image that all cards begin with, made or found in the cache, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError
from harness.images.base import rpios
from harness.images.base.assemble import Baked, assemble
from harness.images.base.debian import DebianBase, build_root
from harness.images.card import ext_exists, open_card
from harness.images.figures import record


@dataclass(frozen=True)
class BaseImage:
    """A base image, whether it was made now, and the seconds that took."""

    image: Path
    changed: bool
    seconds: float


def make_debian(base: DebianBase, baked: Sequence[Baked], cache: Path, output: Path) -> BaseImage:
    """Build the Debian base in `cache`, or find it there; the seconds are recorded in `output`."""
    archive, built, build_seconds = build_root(base, cache)
    image, assembled, assemble_seconds = assemble(archive, baked, cache)
    seconds = build_seconds + assemble_seconds
    name = "base_build_seconds" if built else "base_assemble_seconds" if assembled else "base_cached_seconds"
    record(output, {name: round(seconds, 2)})
    return BaseImage(image, built or assembled, seconds)


def make_rpios(archive: str, sha256: str, cache: Path, output: Path) -> BaseImage:
    """Verify and unpack the user's Raspberry Pi OS into `cache`, or find it there; the seconds are recorded in `output`."""
    if not archive:
        raise BadInputError("the base rpios needs an image", "set image_base_rpios_archive and image_base_rpios_sha256")
    image, changed, seconds = rpios.unpack(Path(archive).expanduser(), sha256.lower(), cache)
    record(output, {"rpios_unpack_seconds" if changed else "rpios_cached_seconds": round(seconds, 2)})
    return BaseImage(image, changed, seconds)


def is_rpios(base: Path) -> bool:
    """Whether a base image holds Raspberry Pi OS; the others are Debian."""
    return ext_exists(open_card(base), rpios.ISSUE)
