"""From a root file system's archive and baked parts to a base image; cached by the hash of both."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import BadInputError
from harness.images.base.debian import BOOT_LABEL, ROOT_LABEL
from harness.images.card import BOOT_SIZE, BOOT_START, MIB, make_card, open_card, root_bytes
from harness.images.host import lock, require_space, run
from harness.system.files import sha256_file, whole
from harness.system.packages import require

ASSEMBLY = "1"  # part of the cache's key: raise it when an assembled image would differ
LIMIT_SECONDS = 900
NODE_USER_ID = 1000


@dataclass(frozen=True)
class Baked:
    """An archive of the controller unpacked into the image. `target` is a directory on the node, owned by the node's user."""

    archive: Path
    target: PurePosixPath
    virtual_environment: bool
    sha256: str

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Baked:
        """A checked Baked; BadInputError where the archive is missing or the target no absolute path."""
        archive, target = Path(str(given["archive"])), PurePosixPath(str(given["target"]))
        if not archive.is_file():
            raise BadInputError(f"{archive}: no such archive to bake into the image", "run the playbook again")
        if not target.is_absolute() or ".." in target.parts or len(target.parts) < 3:
            raise BadInputError(
                f"{target} is no directory below node_root", "set node_root to a path such as /opt/harness"
            )
        return cls(archive, target, bool(given.get("virtual_environment", False)), sha256_file(archive))


def assemble(archive: Path, baked: Sequence[Baked], cache: Path) -> tuple[Path, bool, float]:
    """Make the base image of a Debian root file system, or find it in `cache`: (path, made now, seconds)."""
    begin = time.monotonic()
    inputs = {
        "archive": archive.name,
        "assembly": ASSEMBLY,
        "baked": sorted([str(b.target), b.virtual_environment, b.sha256] for b in baked),
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
    image = cache / f"{archive.stem}-{digest}.img"
    with lock(image):
        if image.is_file():
            return image, False, time.monotonic() - begin
        require("fakeroot", "tar", "sfdisk", "mkfs.vfat", "mkfs.ext4", "mcopy", "debugfs")
        content = archive.stat().st_size + 4 * sum(b.archive.stat().st_size for b in baked)
        require_space(cache, 2 * content + BOOT_START + BOOT_SIZE + 512 * MIB, "assembling the base image")
        with whole(image) as temporary, tempfile.TemporaryDirectory(prefix=".assemble-", dir=cache) as directory:
            spec = {
                "archive": str(archive),
                "baked": [
                    {"archive": str(b.archive), "target": str(b.target), "virtual_environment": b.virtual_environment}
                    for b in baked
                ],
                "image": str(temporary),
                "directory": directory,
            }
            run(
                ["fakeroot", "--", sys.executable, "-m", "harness.images", "populate"],
                stdin=json.dumps(spec).encode(),
                limit_seconds=LIMIT_SECONDS,
            )
            open_card(temporary)
    return image, True, time.monotonic() - begin


def populate(spec: Mapping[str, Any]) -> None:
    """Unpack, add the baked parts and make the file systems; run under fakeroot, which remembers every owner."""
    root, boot = Path(spec["directory"]) / "root", Path(spec["directory"]) / "boot"
    root.mkdir()
    run(["tar", "-xpf", spec["archive"], "-C", root, "--numeric-owner"], limit_seconds=LIMIT_SECONDS)
    for one in spec["baked"]:
        _bake(root, Path(one["archive"]), PurePosixPath(one["target"]), bool(one["virtual_environment"]))
    (root / "boot/firmware").rename(boot)
    (root / "boot/firmware").mkdir()
    size, files = 0, 0
    for directory, names, leaves in os.walk(root):
        files += len(names) + len(leaves)
        size += sum((Path(directory) / leaf).lstat().st_size for leaf in leaves)
    make_card(Path(spec["image"]), root, boot, (BOOT_LABEL, ROOT_LABEL), root_bytes(size, files))
    shutil.rmtree(root)


def _bake(root: Path, archive: Path, target: PurePosixPath, virtual_environment: bool) -> None:
    """Unpack an archive the way the roles do on a node, and give all of it to the node's user."""
    path = root.joinpath(*target.parts[1:])
    path.mkdir(parents=True)
    if virtual_environment:
        _virtual_environment(root, path)
    run(["tar", "-xzf", archive, "-C", path, "--no-same-owner"], limit_seconds=LIMIT_SECONDS)
    top = root.joinpath(*target.parts[1:3])  # node_root: all below it, and itself, is the node's user's
    for directory, names, leaves in os.walk(top):
        for name in (".", *names, *leaves):
            os.chown(Path(directory) / name, NODE_USER_ID, NODE_USER_ID, follow_symlinks=False)


def _virtual_environment(root: Path, path: Path) -> None:
    """What `python3 -m venv --without-pip --symlinks` leaves on the node, without running anything of the node."""
    interpreters = sorted((root / "usr/bin").glob("python3.[0-9]*"))
    names = [one.name for one in interpreters if one.name.removeprefix("python3.").isdigit()]
    if len(names) != 1:
        raise BadInputError(
            f"the image has {len(names)} interpreters of Python 3, expected one", "use a Debian release"
        )
    (path / "bin").mkdir()
    (path / "lib" / names[0] / "site-packages").mkdir(parents=True)
    (path / "lib64").symlink_to("lib")
    (path / "bin/python3").symlink_to("/usr/bin/python3")
    for name in ("python", names[0]):
        (path / "bin" / name).symlink_to("python3")
    version = names[0].removeprefix("python")
    (path / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n", encoding="utf-8"
    )
