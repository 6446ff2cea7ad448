"""A node's image: the base, sharing its blocks, with the node's own settings and host key."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import BadInputError

from . import seed
from .card import Card, ext_write, fat_read, fat_write, open_card
from .debian import firmware_defaults
from .host import clone, lock, require, require_space, run, whole, write_whole
from .rpios import CLOUD_INIT, System, inspect

SEEDING = "1"  # part of what makes an image out of date: raise it when a seeded image would differ
SLACK_BYTES = 64 << 20


@dataclass(frozen=True)
class Made:
    """A node's image and how it came to be. `copy` is "reflink", "sparse", or "" where nothing had to be done."""

    image: Path
    host_key: str
    changed: bool
    seconds: float
    copy: str


def host_key(node: seed.Node, directory: Path) -> tuple[Path, str]:
    """The node's private host key file and its public half, made where there is none; kept, so that pins stay true."""
    private = directory / node.name / "ssh_host_ed25519_key"
    public = private.with_suffix(".pub")
    if private.is_file() and public.is_file():
        return private, public.read_text(encoding="ascii").strip()
    require("ssh-keygen")
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (private, public):
        path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{node.name}", "-f", private], limit_seconds=60)
    return private, public.read_text(encoding="ascii").strip()


def make(node: seed.Node, base: Path, rpios: bool, output: Path, keys: Path) -> Made:
    """Make `output`/NAME.img, or find it made from the same inputs."""
    begin = time.monotonic()
    if not base.is_file():
        raise BadInputError(f"{base}: no such base image", "run the role image_base first")
    image, record = output / f"{node.name}.img", output / f"{node.name}.json"
    with lock(image):
        private, public = host_key(node, keys)
        inputs = {"node": asdict(node), "base": base.name, "host_key": public, "seeding": SEEDING}
        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        if image.is_file() and record.is_file() and json.loads(record.read_text())["inputs_sha256"] == digest:
            return Made(image, public, False, time.monotonic() - begin, "")
        require("sfdisk", "mcopy", "debugfs")
        require_space(output, base.stat().st_blocks * 512 + SLACK_BYTES, f"the image of {node.name}")
        record.unlink(missing_ok=True)  # first: an image without its record is made anew
        with whole(image) as temporary:
            copied = clone(base, temporary)
            temporary.chmod(0o600)  # it holds the node's private host key
            card = open_card(temporary)
            _settle(card, node, digest[:16], inspect(card) if rpios else None)
            _put_host_key(card, private, public)
        write_whole(record, json.dumps({"inputs_sha256": digest, "base": base.name, "copy": copied}).encode())
    return Made(image, public, True, time.monotonic() - begin, copied)


def _put_host_key(card: Card, private: Path, public: str) -> None:
    files = {
        seed.HOST_KEY: (private.read_bytes(), 0o600),
        f"{seed.HOST_KEY}.pub": (f"{public}\n".encode(), 0o644),
        seed.SSHD_DROP_IN: (seed.SSHD_CONFIG.encode(), 0o644),
    }
    ext_write(card, files)


def _settle(card: Card, node: seed.Node, instance: str, system: System | None) -> None:
    """Write the node's settings where its system looks for them; `system` None is the Debian base."""
    cmdline = fat_read(card, "cmdline.txt")
    if not cmdline or not cmdline.strip():
        raise BadInputError(f"{card.path.name}: no cmdline.txt on its boot partition", "use an unmodified base image")
    parameters = seed.serial_parameters(cmdline.decode().strip(), node.serial_console)
    files: dict[str, str] = {}
    if system is not None:
        files["ssh"] = ""  # Raspberry Pi OS starts its SSH server where this file is
    if system is None or system.mechanism == CLOUD_INIT:
        files |= seed.cloud_init(node, f"harness-{node.name}-{instance}", rpios=system is not None)
    else:
        files["firstrun.sh"] = seed.firstrun(node, system.boot_mount)
        parameters = f"{parameters} {seed.firstrun_parameters(system.boot_mount)}"
    files["cmdline.txt"] = parameters + "\n"
    fat_write(card, {name: content.encode() for name, content in files.items()})
    if system is None and not node.serial_console:
        ext_write(card, {"/etc/default/raspi-firmware": (firmware_defaults(serial_console=False).encode(), 0o644)})
