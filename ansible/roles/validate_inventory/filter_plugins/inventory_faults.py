"""What is wrong with an inventory; pure: no node is asked."""

from __future__ import annotations

import ipaddress
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# A host name (RFC 1123), also usable in the name of a systemd unit and of a directory.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Directories of the system: no node_root is one of them, and none lies inside the first kind.
SYSTEM_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/snap", "/sys", "/usr",
)  # fmt: skip
SYSTEM_DIRECTORIES = ("/", "/home", "/lost+found", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var")  # noqa: S108 - refused
# Nor is one a direct child of these: a user's home, and what Debian keeps in /var.
SYSTEM_PARENTS = ("/home", "/var")
USERS_KNOWN_HOSTS = "~/.ssh/known_hosts"
ROOT_REMEDY = "/opt/harness, or another directory that is ours alone"


def inventory_faults(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Look at the nodes of an inventory, all of them.

    nodes: one mapping a host: `name`, `address`, `root`, `connection`, `known_hosts` (absolute), `shared`; and `said`, what the
    inventory has as its address, `pinned`, whether it names the file of host keys.
    Returns one sentence a fault, with the host and the remedy.
    """
    nodes = list(nodes)
    if not nodes:
        return [
            "the inventory has no hosts in group 'nodes'. Try: name the inventory with -i, put the hosts into group 'nodes'"
        ]
    local = [node["name"] for node in nodes if node.get("connection") == "local"]
    # A board may be controller and node at once; several nodes that are this machine share it.
    head = local[0] if len(local) == 1 and len(nodes) > 1 else None
    faults = [fault for node in nodes for fault in _faults_of_one(node, node["name"] == head)]
    return faults + list(_doubled_addresses(nodes))


def node_root_fault(root: str) -> str:
    """Why a path cannot be the directory that holds all of ours on a node; empty where it can.

    root: an absolute path, or one that begins with `~/`.
    """
    path = posixpath.normpath(str(root))
    if not path.startswith(("/", "~/")):
        return f"'{root}' is not a directory of our own: it is not an absolute path"
    # normpath keeps two leading slashes, as POSIX allows.
    path = path.replace("//", "/", 1) if path.startswith("//") else path
    if path in SYSTEM_DIRECTORIES or any(path == tree or path.startswith(f"{tree}/") for tree in SYSTEM_TREES):
        return f"'{root}' is not a directory of our own: it belongs to the system"
    if posixpath.dirname(path) in SYSTEM_PARENTS:
        return f"'{root}' is not a directory of our own: it holds what others keep there"
    return ""


def _faults_of_one(node: Mapping[str, Any], head: bool = False) -> Iterator[str]:
    name = str(node["name"])
    if not NAME.fullmatch(name):
        yield f"{name}: not a host name. Try: small letters, digits and hyphens, at most 63"
    yield from _address_faults(name, node.get("address"), node.get("said", node.get("address")))
    yield from _root_faults(name, node)
    pinned = [str(node.get("known_hosts"))] + (
        [] if node.get("pinned", True) else [os.path.expanduser(USERS_KNOWN_HOSTS)]
    )
    if node.get("connection") != "local" and not any(map(os.path.isfile, pinned)):
        yield (
            f"{name}: {node.get('known_hosts')} with the pinned host keys does not exist. Try: cluster_known_hosts, or write "
            "the keys that you have checked there (ssh-keyscan ADDRESS prints what a node shows)"
        )
    if node.get("connection") == "local" and not node.get("shared") and not head:
        yield f"{name}: ansible_connection is local, but node_shared_machine is not true. Try: node_shared_machine: true"


def _root_faults(name: str, node: Mapping[str, Any]) -> Iterator[str]:
    root = str(node.get("root"))
    if fault := node_root_fault(root):
        yield f"{name}: node_root {fault}. Try: {ROOT_REMEDY}"
    elif root.startswith("~") and node.get("connection") != "local":
        yield f"{name}: node_root '{root}' is another directory for root than for the node's user. Try: an absolute path"


def _address_faults(name: str, address: Any, said: Any) -> Iterator[str]:
    try:
        parsed = ipaddress.ip_address(str(address))
    except ValueError:
        if not said:
            yield f"{name}: no ansible_host, and its name has no IPv4 address. Try: ansible_host with the node's IP address"
        else:
            yield (
                f"{name}: ansible_host '{said}' is not an IP address, and no name that has an IPv4 address. "
                "Try: its address, or node_address where only the other nodes reach it"
            )
        return
    if parsed.version == 6:
        yield f"{name}: ansible_host '{address}' is IPv6, and MXNet's store knows IPv4 alone. Try: the node's IPv4 address"
    elif parsed.is_unspecified or parsed.is_multicast:
        yield f"{name}: ansible_host '{address}' is no address of one machine. Try: the node's IP address"


def _doubled_addresses(nodes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    owner: dict[str, str] = {}
    for node in nodes:
        address, name = str(node.get("address")), str(node["name"])
        if node.get("address") and address in owner:
            yield f"{owner[address]} and {name} have one address, {address}. Try: an ansible_host of its own for each"
        owner.setdefault(address, name)


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"inventory_faults": inventory_faults, "node_root_fault": node_root_fault}
