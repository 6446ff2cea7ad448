"""The cluster, read from an Ansible inventory through Ansible's own command line."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from harness.errors import BadInputError
from harness.paths import REPOSITORY

READ_TIMEOUT_SECONDS = 60
DEFAULT_PORT = 9091

Supervisor = Literal["systemd", "process"]


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, as the inventory describes it."""

    name: str
    address: str
    local: bool
    root: str
    supervisor: Supervisor = "systemd"
    user: str | None = None
    ssh_port: int = 22
    key_file: str | None = None
    known_hosts: str | None = None
    python: str = "/usr/bin/python3"
    threads: int | None = None
    """What a rank computes with; None for as many as OpenMP takes by itself, one a core."""


@dataclass(frozen=True)
class Cluster:
    """The nodes, in inventory order, and what is common to them."""

    inventory: Path
    kind: str
    nodes: tuple[Node, ...]
    port: int = DEFAULT_PORT
    network_namespace: str | None = None
    time_dilation: float = 1.0
    """What all that happens on the nodes is slowed down by; see harness/dilation.py."""

    def first(self, count: int, excluding: frozenset[str] = frozenset()) -> tuple[Node, ...]:
        """The first `count` nodes that are not excluded by name.

        Raises BadInputError where there are not as many.
        """
        usable = [node for node in self.nodes if node.name not in excluding]
        if count > len(usable):
            left_out = f" ({len(excluding)} left out)" if excluding else ""
            raise BadInputError(
                f"{count} nodes asked for, but {self.inventory} has {len(usable)}{left_out}",
                f"ask for at most {len(usable)} with --nodes, or add nodes to the inventory",
            )
        return tuple(usable[:count])


def load_cluster(inventory: Path) -> Cluster:
    """Read the nodes of group `nodes`.

    Raises BadInputError where Ansible cannot read the inventory or a node's description is unusable.
    """
    if not inventory.exists():
        raise BadInputError(
            f"inventory {inventory} does not exist",
            "name one with -i: inventory/local, or `harness cluster inventory`'s",
        )
    listing = _ansible_inventory(inventory)
    names = _members(listing, "nodes")
    if not names:
        raise BadInputError(
            f"{inventory} has no hosts in group 'nodes'", "put the cluster's hosts into the group 'nodes'"
        )
    variables = cast(dict[str, dict[str, Any]], listing.get("_meta", {}).get("hostvars", {}))
    if "{{" in json.dumps({name: _ours(variables.get(name, {})) for name in names}):
        variables = _resolved(inventory)
    return build_cluster(inventory, {name: variables.get(name, {}) for name in names})


def build_cluster(inventory: Path, variables: Mapping[str, Mapping[str, Any]]) -> Cluster:
    """Make a Cluster of the host variables; pure.

    Raises BadInputError for a missing or doubled address and for unknown values.
    """
    directory = inventory if inventory.is_dir() else inventory.parent
    nodes = tuple(_node(name, values, directory) for name, values in variables.items())
    owner: dict[str, str] = {}
    for node in nodes:
        if node.address in owner:
            raise BadInputError(
                f"hosts {owner[node.address]} and {node.name} have one address, {node.address}",
                f"give each its own ansible_host in {inventory}",
            )
        owner[node.address] = node.name
    common = next(iter(variables.values()))
    return Cluster(
        inventory=inventory,
        kind=str(common.get("cluster_kind", "pi")),
        nodes=nodes,
        port=int(common.get("cluster_port", DEFAULT_PORT)),
        network_namespace=common.get("cluster_network_namespace") or None,
        time_dilation=_dilation(common.get("cluster_time_dilation", 1.0)),
    )


def _dilation(value: Any) -> float:
    try:
        factor = float(value)
    except (TypeError, ValueError):
        factor = math.nan
    if not 1 <= factor < math.inf:
        raise BadInputError(f"cluster_time_dilation '{value}' is no factor", "a number from 1 on; 1 is real time")
    return factor


def _node(name: str, values: Mapping[str, Any], directory: Path) -> Node:
    address = values.get("ansible_host")
    if not address:
        raise BadInputError(f"host {name} has no ansible_host", "give it the node's IP address")
    try:
        ipaddress.ip_address(str(address))
    except ValueError:
        raise BadInputError(
            f"host {name}: ansible_host '{address}' is not an IP address", "ps-lite binds to addresses, not to names"
        ) from None
    supervisor = values.get("node_supervisor", "systemd")
    if supervisor not in ("systemd", "process"):
        raise BadInputError(f"host {name}: node_supervisor '{supervisor}' is unknown", "systemd or process")
    local = values.get("ansible_connection") == "local"
    root = Path(str(values.get("node_root", "/opt/harness")))
    known_hosts = Path(str(values.get("cluster_known_hosts", "known_hosts"))).expanduser()
    key_file = values.get("ansible_ssh_private_key_file")
    return Node(
        name=name,
        address=str(address),
        local=local,
        root=str(root.expanduser() if local else root),
        supervisor=supervisor,
        user=values.get("ansible_user"),
        ssh_port=int(values.get("ansible_port", 22)),
        key_file=str(Path(str(key_file)).expanduser()) if key_file else None,
        known_hosts=None if local else str(directory / known_hosts),
        threads=_threads(name, values.get("node_threads")),
        python=sys.executable if local else str(values.get("ansible_python_interpreter", "/usr/bin/python3")),
    )


def _threads(name: str, value: Any) -> int | None:
    if value in (None, ""):
        return None
    if not str(value).isdecimal() or int(value) < 1:
        raise BadInputError(
            f"host {name}: node_threads '{value}' is no number of threads", "1 or more, or leave it out"
        )
    return int(value)


_OURS = ("ansible_", "cluster_", "node_")


def _ours(values: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that the harness reads; ssh arguments, and how a local node finds its Python, are Ansible's alone."""
    theirs = {"ansible_python_interpreter"} if values.get("ansible_connection") == "local" else set()
    return {k: v for k, v in values.items() if k.startswith(_OURS) and not k.endswith("_args") and k not in theirs}


def _members(listing: Mapping[str, Any], group: str) -> list[str]:
    entry = listing.get(group, {})
    names = list(entry.get("hosts", []))
    for child in entry.get("children", []):
        names += [name for name in _members(listing, child) if name not in names]
    return names


def _ansible_inventory(inventory: Path) -> dict[str, Any]:
    output = _ansible(["ansible-inventory", "-i", str(inventory.absolute()), "--list"], inventory)
    return cast(dict[str, Any], json.loads(output))


def _resolved(inventory: Path) -> dict[str, dict[str, Any]]:
    """Host variables with their templates resolved: `ansible-inventory` leaves them, so one task on the controller does it."""
    names = "groups['nodes']"
    keys = [
        "ansible_host", "ansible_user", "ansible_port", "ansible_connection", "ansible_ssh_private_key_file",
        "ansible_python_interpreter", "cluster_kind", "cluster_known_hosts", "cluster_network_namespace",
        "cluster_port", "cluster_time_dilation", "node_root", "node_supervisor", "node_shared_machine",
        "node_threads",
    ]  # fmt: skip
    fields = ", ".join(f"'{k}': hostvars[name]['{k}'] | default(none)" for k in keys)
    content = (
        "{% set all = {} %}{% for name in "
        + names
        + " %}{% set _ = all.update({name: {"
        + fields
        + "}}) %}{% endfor %}{{ all | to_json }}"
    )
    with tempfile.TemporaryDirectory(prefix="harness-inventory-") as scratch:
        target = Path(scratch) / "variables.json"
        play = [
            {
                "hosts": "nodes",
                "gather_facts": False,
                "tasks": [
                    {
                        "ansible.builtin.copy": {"content": content, "dest": str(target), "mode": "0600"},
                        "run_once": True,
                        "delegate_to": "localhost",
                        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                    }
                ],
            }
        ]
        playbook = Path(scratch) / "resolve.yml"
        playbook.write_text(json.dumps(play), encoding="utf-8")
        _ansible(["ansible-playbook", "-i", str(inventory.absolute()), str(playbook)], inventory)
        found = json.loads(target.read_text(encoding="utf-8"))
    return {name: {k: v for k, v in values.items() if v is not None} for name, values in found.items()}


def _ansible(command: list[str], inventory: Path) -> str:
    # The commands of the environment that this Python belongs to come first: it is where the harness was installed.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=READ_TIMEOUT_SECONDS,
            check=False,
            env=environment,
            cwd=REPOSITORY,
        )
    except FileNotFoundError:
        raise BadInputError(f"{command[0]} is not installed", "make setup") from None
    except subprocess.TimeoutExpired:
        raise BadInputError(f"{command[0]} did not read {inventory} within {READ_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise BadInputError(f"Ansible cannot read inventory {inventory}: {' '.join(reason[-3:])}")
    return done.stdout
