"""The Ansible inventory of a virtual cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from harness.virtual.host.names import VirtualNode, controller_namespace
from harness.virtual.host.rootfs import USER
from harness.virtual.link import WIFI
from harness.virtual.machines import groups_of, host_variables


def inventory_text(
    cluster: str,
    nodes: list[VirtualNode],
    key: Path,
    known_hosts: Path,
    control_directory: Path,
    dilation: float = 1.0,
    memory: str | None = None,
    machines: Mapping[str, Mapping[str, object]] | None = None,
    profiles: Mapping[str, str] | None = None,
    *,
    shares_medium: bool = False,
) -> str:
    """The inventory's YAML: group `nodes` with the variables of docs/reference/inventory.md, all plain values.

    `control_directory` is where Ansible keeps its SSH masters: one of this cluster's own, since Ansible names them after
    the address alone and two clusters may have the same. `machines` says of single nodes what they are,
    `profiles` which board each imitates, `shares_medium` that they have no cables.
    """
    options = {
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    variables = {
        "cluster_kind": "virtual",
        "cluster_network_namespace": controller_namespace(cluster),
        "cluster_known_hosts": str(known_hosts),
        **({"cluster_time_dilation": dilation} if dilation != 1 else {}),
        **({"cluster_link": WIFI} if shares_medium else {}),
        "node_threads": 1,  # of the machine's cores a node has a share of one, and threads that spin for it waste it
        **({"node_memory": memory} if memory else {}),  # the node itself would name the machine's
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        "ansible_control_path_dir": str(control_directory),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    machines = machines or {}
    own = {name: host_variables(machine) for name, machine in machines.items()}
    boards = {name: {"node_profile": profile} for name, profile in (profiles or {}).items()}
    hosts = {
        node.name: {"ansible_host": node.address, **boards.get(node.name, {}), **own.get(node.name, {})}
        for node in nodes
    }
    content = {"all": {"children": {"nodes": {"hosts": hosts, "vars": variables}, **groups_of(machines)}}}
    header = f"# Written by `harness cluster up` for virtual cluster {cluster}; changes are overwritten.\n"
    return header + yaml.safe_dump(content, sort_keys=False, width=1000)
