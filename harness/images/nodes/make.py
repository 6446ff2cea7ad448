"""A node's image: the base, sharing its blocks, with the node's own settings and host key."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from harness.errors import BadInputError, ImageError
from harness.images import figures
from harness.images.base.debian import firmware_defaults
from harness.images.base.rpios import CLOUD_INIT, System, inspect
from harness.images.card import Card, ext_exists, ext_write, fat_read, fat_write, open_card
from harness.images.host import MAKE_IMAGES, clone, lock, require_space
from harness.images.nodes import first_boot, wifi
from harness.images.nodes.card_node import CardNode
from harness.system.files import whole, write_whole
from harness.system.packages import require
from harness.system.ssh import ensure_key

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


def host_key(node: CardNode, directory: Path) -> tuple[Path, str]:
    """The node's private host key file and its public half, made where there is none; kept, so that pins stay true."""
    require("ssh-keygen")
    private = ensure_key(directory / node.name / "ssh_host_ed25519_key", f"root@{node.name}", ImageError)
    return private, private.with_suffix(".pub").read_text(encoding="ascii").strip()


def make(node: CardNode, base: Path, rpios: bool, output: Path, keys: Path) -> Made:
    """Make `output`/NAME.img, or find it made from the same inputs; the seconds are recorded in `output`."""
    begin = time.monotonic()
    if not base.is_file():
        raise BadInputError(f"{base}: no such base image", "make it first: `harness image base`")
    image, record = output / f"{node.name}.img", output / f"{node.name}.json"
    with lock(image):
        private, public = host_key(node, keys)
        settings = {name: value for name, value in asdict(node).items() if value is not None}
        inputs = {"node": settings, "base": base.name, "host_key": public, "seeding": SEEDING}
        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        settings.pop("wifi", None)  # the record beside the image has no secret
        known = json.loads(record.read_text(encoding="utf-8")) if image.is_file() and record.is_file() else {}
        if known.get("inputs_sha256") == digest and "inputs" in known:
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
        write_whole(record, json.dumps({"inputs_sha256": digest, "inputs": inputs, "copy": copied}).encode())
    seconds = time.monotonic() - begin
    figures.record(output, {"node_seconds": {node.name: round(seconds, 2)}, "node_copy": copied})
    return Made(image, public, True, seconds, copied)


def made_for(image: Path) -> tuple[CardNode, str]:
    """The node that an image was made for, and its public host key, from the record beside the image.

    Raises BadInputError where the image, or what was recorded of it, is missing.
    """
    if not image.is_file():
        raise BadInputError(f"{image}: no such image", MAKE_IMAGES)
    try:
        inputs = json.loads(image.with_suffix(".json").read_text(encoding="utf-8"))["inputs"]
        return CardNode.parse(inputs["node"]), str(inputs["host_key"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{image}: no record of what it was made from beside it", "make the image again") from error


def _put_host_key(card: Card, private: Path, public: str) -> None:
    files = {
        first_boot.HOST_KEY: (private.read_bytes(), 0o600),
        f"{first_boot.HOST_KEY}.pub": (f"{public}\n".encode(), 0o644),
        first_boot.SSHD_DROP_IN: (first_boot.SSHD_CONFIG.encode(), 0o644),
    }
    ext_write(card, files)


def _settle(card: Card, node: CardNode, instance: str, system: System | None) -> None:
    """Write the node's settings where its system looks for them; `system` None is the Debian base."""
    cmdline = fat_read(card, "cmdline.txt")
    if not cmdline or not cmdline.strip():
        raise BadInputError(f"{card.path.name}: no cmdline.txt on its boot partition", "use an unmodified base image")
    parameters = first_boot.serial_parameters(cmdline.decode().strip(), node.serial_console)
    if node.wifi and system is not None:
        parameters = wifi.with_country(parameters, node.wifi)
    files: dict[str, str] = {}
    if system is not None:
        files["ssh"] = ""  # Raspberry Pi OS starts its SSH server where this file is
    if system is None or system.mechanism == CLOUD_INIT:
        files |= first_boot.cloud_init(node, f"harness-{node.name}-{instance}", rpios=system is not None)
    else:
        files["firstrun.sh"] = first_boot.firstrun(node, system.boot_mount)
        parameters = f"{parameters} {first_boot.firstrun_parameters(system.boot_mount)}"
    files["cmdline.txt"] = parameters + "\n"
    fat_write(card, {name: content.encode() for name, content in files.items()})
    if system is None and not node.serial_console:
        ext_write(card, {"/etc/default/raspi-firmware": (firmware_defaults(serial_console=False).encode(), 0o644)})
    if node.wifi:
        _put_wifi(card, node, node.wifi, system)


def _put_wifi(card: Card, node: CardNode, network: wifi.Wifi, system: System | None) -> None:
    """Write the files of the radio that are root's alone; where cloud-init renders netplan, it makes them itself."""
    if system is None:
        if not ext_exists(card, wifi.SUPPLICANT):
            raise BadInputError(
                f"{node.name}: the base image has no wpa_supplicant, so the card cannot join a Wi-Fi",
                "the playbook adds what it needs; by hand: harness image base "
                + " ".join(f"--package {package}" for package in wifi.PACKAGES),
            )
        files = {
            wifi.SUPPLICANT_FILE: (wifi.supplicant(network).encode(), 0o600),
            wifi.NETWORKD_FILE: (first_boot.networkd(node).encode(), 0o644),
            wifi.MODULE_FILE: (wifi.module_options(network).encode(), 0o644),
        }
    elif system.mechanism == CLOUD_INIT:
        return
    else:
        files = {wifi.KEY_FILE: (first_boot.network_manager(node).encode(), 0o600)}
    parents = {str(parent): None for path in files for parent in reversed(PurePosixPath(path).parents[:-1])}
    ext_write(card, files, list(parents))
