"""What is wrong with an inventory; pure: no node is asked."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# A host name (RFC 1123), also usable in the name of a systemd unit and of a directory.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def inventory_faults(nodes: Iterable[Mapping[str, Any]], kinds: Iterable[str], supervisors: Iterable[str]) -> list[str]:
    """Look at the nodes of an inventory, all of them.

    nodes: one mapping a host: `name`, `address`, `kind`, `supervisor`, `root`, `connection`, `known_hosts` (absolute),
    `shared`.
    Returns one sentence a fault, with the host and the remedy.
    """
    nodes = list(nodes)
    if not nodes:
        return [
            "the inventory has no hosts in group 'nodes'. Try: name the inventory with -i, put the hosts into group 'nodes'"
        ]
    faults = [fault for node in nodes for fault in _faults_of_one(node, list(kinds), list(supervisors))]
    return faults + list(_doubled_addresses(nodes))


def _faults_of_one(node: Mapping[str, Any], kinds: list[str], supervisors: list[str]) -> Iterator[str]:
    name = str(node["name"])
    if not NAME.fullmatch(name):
        yield f"{name}: not a host name. Try: small letters, digits and hyphens, at most 63"
    yield from _address_faults(name, node.get("address"))
    if node.get("kind") not in kinds:
        yield f"{name}: cluster_kind '{node.get('kind')}' is unknown. Try: {', '.join(kinds)}"
    if node.get("supervisor") not in supervisors:
        yield f"{name}: node_supervisor '{node.get('supervisor')}' is unknown. Try: {', '.join(supervisors)}"
    if not str(node.get("root")).startswith(("/", "~")) or str(node.get("root")) in ("/", "~", "~/"):
        yield f"{name}: node_root '{node.get('root')}' is not a directory of our own. Try: /opt/harness"
    if node.get("connection") != "local" and not os.path.isfile(str(node.get("known_hosts"))):
        yield (
            f"{name}: {node.get('known_hosts')} with the pinned host keys does not exist. Try: cluster_known_hosts, or write "
            "the keys that you have checked there (ssh-keyscan ADDRESS prints what a node shows)"
        )
    if node.get("connection") == "local" and not node.get("shared"):
        yield f"{name}: ansible_connection is local, but node_shared_machine is not true. Try: node_shared_machine: true"


def _address_faults(name: str, address: Any) -> Iterator[str]:
    if not address:
        yield f"{name}: no ansible_host. Try: ansible_host with the node's IP address"
        return
    try:
        parsed = ipaddress.ip_address(str(address))
    except ValueError:
        yield f"{name}: ansible_host '{address}' is not an IP address. Try: its address; ps-lite cannot bind to a name"
        return
    if parsed.is_unspecified or parsed.is_multicast:
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
        return {"inventory_faults": inventory_faults}
