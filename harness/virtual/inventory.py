"""The Ansible inventory of a virtual cluster. Pure."""

from __future__ import annotations

from pathlib import Path

import yaml

from harness.virtual.names import Node, controller_namespace
from harness.virtual.rootfs import USER


def inventory_text(
    cluster: str, nodes: list[Node], key: Path, known_hosts: Path, control_directory: Path, dilation: float = 1.0
) -> str:
    """The inventory's YAML: group `nodes` with the variables of docs/design.md, all plain values.

    `control_directory` is where Ansible keeps its SSH masters: one of this cluster's own, since Ansible names them after
    the address alone and two clusters may have the same.
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
        "node_threads": 1,  # of the machine's cores a node has a share of one, and threads that spin for it waste it
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
        "ansible_control_path_dir": str(control_directory),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    hosts = {node.name: {"ansible_host": node.address} for node in nodes}
    content = {"all": {"children": {"nodes": {"hosts": hosts, "vars": variables}}}}
    header = f"# Written by `harness cluster up` for virtual cluster {cluster}; changes are overwritten.\n"
    return header + yaml.safe_dump(content, sort_keys=False, width=1000)
