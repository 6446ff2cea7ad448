"""The steps that the image roles call: each takes its arguments as a mapping and returns what Ansible registers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInputError
from harness.images import figures
from harness.images.base.assemble import Baked
from harness.images.base.debian import DebianBase
from harness.images.base.make import BaseImage, make_debian, make_rpios
from harness.images.device.disk import Request
from harness.images.device.write import write_image
from harness.images.emulation import arm64, guest
from harness.images.emulation.verify import Emulation, verify
from harness.images.nodes import wifi
from harness.images.nodes.card_node import CardNode, parse_nodes
from harness.images.nodes.known_hosts import dhcp_reservations, known_hosts_line, pin
from harness.images.nodes.login_key import find_key
from harness.images.nodes.make import make
from harness.paths import EXPERIMENTS
from harness.system.files import write_whole


def base_debian(given: Mapping[str, Any]) -> dict[str, Any]:
    """Build the Debian base image, or find it cached."""
    packages = [*given["packages"], *(wifi.PACKAGES if given.get("wifi") else ())]
    base = DebianBase.of(str(given["suite"]), given["components"], packages)
    baked = [Baked.parse(one) for one in given["baked"]]
    return _told(make_debian(base, baked, Path(given["cache"]), Path(given["output"])))


def base_rpios(given: Mapping[str, Any]) -> dict[str, Any]:
    """Verify and unpack the user's Raspberry Pi OS image, or find it cached."""
    if given["baked"]:
        raise BadInputError(
            "parts are baked into the base debian only: the file system of Raspberry Pi OS has no room for them",
            "set image_base_bake to [], or image_base_os to debian",
        )
    archive, sha256 = str(given["archive"]), str(given["sha256"])
    return _told(make_rpios(archive, sha256, Path(given["cache"]), Path(given["output"])))


def _told(made: BaseImage) -> dict[str, Any]:
    return {"image": str(made.image), "changed": made.changed, "seconds": made.seconds}


def check_nodes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check all nodes at once: a mistake in the inventory is told before minutes are spent on a base."""
    return {"nodes": len(parse_nodes(given["nodes"])), "changed": False}


def key(given: Mapping[str, Any]) -> dict[str, Any]:
    """The key pair that may log in: the user's, or one made beside the images where none was named."""
    public, made = find_key(Path(given["private"]).expanduser(), may_make=bool(given["may_make"]))
    return {"public": public, "changed": made}


def node(given: Mapping[str, Any]) -> dict[str, Any]:
    """Make one node's image."""
    one, output = CardNode.parse(given["node"]), Path(given["output"])
    made = make(one, Path(given["base"]), bool(given["rpios"]), output, Path(given["keys"]))
    return {
        "image": str(made.image),
        "changed": made.changed,
        "seconds": made.seconds,
        "known_hosts": known_hosts_line(one, made.host_key),
    }


def known_hosts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Pin the nodes' host keys in every file named, and write the DHCP reservations where there are any."""
    nodes = parse_nodes(given["nodes"])
    changed = [name for name in given["files"] if pin(Path(name), given["lines"])]
    reservations = dhcp_reservations(nodes)
    if reservations and write_whole(Path(given["reservations"]), reservations.encode()):
        changed.append(str(given["reservations"]))
    return {"changed": bool(changed), "written": changed}


def emulate(given: Mapping[str, Any]) -> dict[str, Any]:
    """Boot a node's image to SSH and the end of its first boot, and check that it is the node it should be."""
    emulation = Emulation(
        node=CardNode.parse(given["node"]),
        image=Path(given["image"]),
        machine=str(given["machine"]),
        directory=Path(given["directory"]),
        private_key=Path(given["private_key"]).expanduser(),
        host_key=given["known_hosts"].split(" ", 1)[1],
        boot_seconds=float(given["boot_seconds"]),
    )
    booted = verify(emulation, Path(given["output"]), keep=bool(given["keep"]))
    seconds = {"ssh_seconds": booted.ssh_seconds, "ready_seconds": booted.ready_seconds}
    return {"changed": False, "port": booted.port, "identity": booted.identity, **seconds}


def stop(given: Mapping[str, Any]) -> dict[str, Any]:
    """Stop an emulation."""
    return {"changed": guest.stop(Path(given["directory"]))}


def run_arm64(given: Mapping[str, Any]) -> dict[str, Any]:
    """Run programs of the node's root file system under user-mode emulation; the experiments are at /mnt where not told."""
    begin = time.monotonic()
    commands = [[str(word) for word in command] for command in given["commands"]]
    binds = given.get("binds", {"/mnt": str(EXPERIMENTS)})
    said = arm64.run_inside(
        Path(given["image"]), commands, binds, Path(given["directory"]), float(given["limit_seconds"])
    )
    seconds = time.monotonic() - begin
    figures.record(Path(given["output"]), {"arm64_user_seconds": round(seconds, 1)})
    return {"changed": False, "stdout": said, "seconds": seconds}


def write(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write an image to a card."""
    return {"changed": True, **write_image(Request.parse(given))}
