"""The steps the roles call: each takes its arguments as a mapping, does one thing, and returns what Ansible registers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInputError

from . import arm64, qemu, rpios, seed
from . import node as nodes
from .assemble import Baked, assemble
from .debian import DebianBase, build_root, read_packages
from .device import Request, write_image
from .figures import NAME, bars, record
from .host import StepError, run, write_whole


def base_debian(given: Mapping[str, Any]) -> dict[str, Any]:
    """Build the Debian base image, or find it cached."""
    cache, output = Path(given["cache"]), Path(given["output"])
    base = DebianBase(
        suite=str(given["suite"]),
        components=tuple(given["components"]),
        packages=read_packages([Path(path) for path in given["package_lists"]], given["packages"]),
    )
    baked = [Baked.parse(one) for one in given["baked"]]
    archive, built, build_seconds = build_root(base, cache)
    image, assembled, assemble_seconds = assemble(archive, baked, cache)
    seconds = build_seconds + assemble_seconds
    name = "base_build_seconds" if built else "base_assemble_seconds" if assembled else "base_cached_seconds"
    record(output, {name: round(seconds, 2)})
    return {"image": str(image), "changed": built or assembled, "seconds": seconds}


def base_rpios(given: Mapping[str, Any]) -> dict[str, Any]:
    """Verify and unpack the user's Raspberry Pi OS image, or find it cached."""
    if given["baked"]:
        raise BadInputError(
            "parts are baked into the base debian only: the file system of Raspberry Pi OS has no room for them",
            "set image_base_bake to [], or image_base_os to debian",
        )
    digest = str(given["sha256"]).lower()
    if not given["archive"]:
        raise BadInputError("the base rpios needs an image", "set image_base_rpios_archive and image_base_rpios_sha256")
    image, changed, seconds = rpios.unpack(Path(given["archive"]).expanduser(), digest, Path(given["cache"]))
    record(Path(given["output"]), {"rpios_unpack_seconds" if changed else "rpios_cached_seconds": round(seconds, 2)})
    return {"image": str(image), "changed": changed, "seconds": seconds}


def check_nodes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check all nodes at once: a mistake in the inventory is told before minutes are spent on a base."""
    return {"nodes": len(seed.parse_nodes(given["nodes"])), "changed": False}


def key(given: Mapping[str, Any]) -> dict[str, Any]:
    """The key pair that may log in: the user's, or one made beside the images where none was named."""
    private = Path(given["private"]).expanduser()
    public = private.with_name(private.name + ".pub")
    changed = False
    if not private.exists() and given["may_make"]:
        private.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "harness", "-f", private], limit_seconds=60)
        changed = True
    if not public.is_file():
        raise BadInputError(
            f"{public}: no such public key",
            f"ssh-keygen -t ed25519 -f {private}, or name your own in image_node_key_file",
        )
    return {"public": public.read_text(encoding="utf-8").strip(), "changed": changed}


def node(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make one node's image."""
    output = Path(given["output"])
    one = seed.Node.parse(given["node"])
    made = nodes.make(one, Path(given["base"]), bool(given["rpios"]), output, Path(given["keys"]))
    if made.changed:
        record(output, {"node_seconds": {one.name: round(made.seconds, 2)}, "node_copy": made.copy})
    return {
        "image": str(made.image),
        "changed": made.changed,
        "seconds": made.seconds,
        "known_hosts": seed.known_hosts_line(one, made.host_key),
    }


def known_hosts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Pin the nodes' host keys in every file named, and write the DHCP reservations where there are any."""
    parsed, changed = seed.parse_nodes(given["nodes"]), []
    for path in (Path(name) for name in given["files"]):
        existing = path.read_text(encoding="utf-8") if path.is_file() else ""
        if write_whole(path, seed.merge_known_hosts(existing, given["lines"]).encode()):
            changed.append(str(path))
    reservations = seed.dhcp_reservations(parsed)
    if reservations and write_whole(Path(given["reservations"]), reservations.encode()):
        changed.append(str(given["reservations"]))
    return {"changed": bool(changed), "written": changed}


def emulate(given: Mapping[str, Any]) -> dict[str, Any]:
    """Boot a node's image to SSH and the end of its first boot, and check that it is the node it should be."""
    one, output, directory = seed.Node.parse(given["node"]), Path(given["output"]), Path(given["directory"])
    begin = time.monotonic()
    try:
        try:
            guest, ssh = _boot(given, one, directory)
        except qemu.NoCardError:  # now and then, on a machine that has other work
            guest, ssh = _boot(given, one, directory)
        to_ssh = time.monotonic() - begin
        qemu.set_clock(ssh)
        found = qemu.identity(ssh, float(given["boot_seconds"]))
        _check_identity(one, found, str(given["machine"]), guest.console)
    except BaseException:
        qemu.stop(directory)
        raise
    ready = time.monotonic() - begin
    figures = {
        f"{given['machine']}_ssh_seconds": round(to_ssh, 1),
        f"{given['machine']}_ready_seconds": round(ready, 1),
    }
    record(output, figures)
    if not given["keep"]:
        qemu.stop(directory)
    return {"changed": False, "port": guest.port, "identity": found, **figures}


def _boot(given: Mapping[str, Any], one: seed.Node, directory: Path) -> tuple[qemu.Guest, list[str]]:
    """Start the emulation and wait for SSH; the SSH command to reach it with."""
    guest = qemu.start(Path(given["image"]), one, str(given["machine"]), directory)
    pins = directory / "known_hosts"
    host_key = given["known_hosts"].split(" ", 1)[1]
    write_whole(pins, f"{one.name} {host_key}\n".encode())
    ssh = qemu.ssh_command(one, guest.port, Path(given["private_key"]).expanduser(), pins)
    qemu.wait_for_ssh(guest, ssh, float(given["boot_seconds"]))
    return guest, ssh


def _check_identity(one: seed.Node, found: Mapping[str, str], machine: str, console: Path) -> None:
    expected = {
        "hostname": (one.name, found.get("hostname", "")),
        "architecture": ("aarch64", found.get("architecture", "")),
        "address": (f"{one.address}/{one.prefix_length}", found.get("address", "")),
        "passwords": ("passwordauthentication no", found.get("passwords", "")),
    }
    if machine == "raspi3b":
        expected["model"] = ("Raspberry Pi 3", found.get("model", ""))
    wrong = [f"{name} is {is_!r}, expected {want!r}" for name, (want, is_) in expected.items() if want not in is_]
    if wrong:
        raise StepError(f"{one.name} booted, but {'; '.join(wrong)}", f"read {console}")


def stop(given: Mapping[str, Any]) -> dict[str, Any]:
    """Stop an emulation."""
    return {"changed": qemu.stop(Path(given["directory"]))}


def run_arm64(given: Mapping[str, Any]) -> dict[str, Any]:
    """Run programs of the node's root file system under user-mode emulation."""
    begin = time.monotonic()
    commands = [[str(word) for word in command] for command in given["commands"]]
    directory = Path(given["directory"])
    said = arm64.run_inside(Path(given["image"]), commands, given["binds"], directory, float(given["limit_seconds"]))
    seconds = time.monotonic() - begin
    record(Path(given["output"]), {"arm64_user_seconds": round(seconds, 1)})
    return {"changed": False, "stdout": said, "seconds": seconds}


def write(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write an image to a card."""
    written = write_image(Request.parse(given))
    return {"changed": True, **written}


def figures(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured when the images of an output directory were made, beside the bars."""
    path = Path(given["output"]) / NAME
    if not path.is_file():
        raise BadInputError(
            f"{path}: nothing was measured", "make images: ansible-playbook ansible/playbooks/image.yml"
        )
    measured = json.loads(path.read_text(encoding="utf-8"))
    return {"figures": measured, "bars": bars(measured)}
