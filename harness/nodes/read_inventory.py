"""Read a cluster from an Ansible inventory, as Ansible and OpenSSH understand it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import harness
from harness.contract.json_line import parse_json_line
from harness.errors import BadInputError
from harness.nodes.ansible import ansible_environment
from harness.nodes.connection.names import BECOME_PASSWORD, BECOME_PASSWORD_PIPE
from harness.nodes.connection.reach import reached
from harness.nodes.host_variables import HostVariables, same_everywhere
from harness.nodes.inventory import DEFAULT_PORT, Cluster, Node

READ_TIMEOUT_SECONDS = 60

_PYTHON = "/usr/bin/python3"
_RESOLVE = "harness.nodes.connection.resolve"
# Whatever the user's environment says: nothing but the answer, and no answer where the inventory cannot be read.
_QUIETLY = {
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_VERBOSITY": "0",
    "ANSIBLE_DEBUG": "0",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
}


class Group(NamedTuple):
    """A group of the inventory: its own hosts, and the groups below it."""

    hosts: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


def load_cluster(inventory: Path, become_password: str | None = None) -> Cluster:
    """Read the nodes of group `nodes`; `become_password` is one that was typed, as ansible-playbook's -K asks for it.

    Raises BadInputError where Ansible cannot read the inventory or a node's description is unusable.
    """
    if not inventory.exists():
        raise BadInputError(
            f"inventory {inventory} does not exist",
            "name one with -i: a path, local, or a virtual cluster that is up",
        )
    groups, variables = parse_listing(_ansible_inventory(inventory, become_password), inventory)
    names = _members(groups, "nodes")
    if not names:
        raise BadInputError(
            f"{inventory} has no hosts in group 'nodes'", "put the cluster's hosts into the group 'nodes'"
        )
    of_host = {name: frozenset(group for group in groups if name in _members(groups, group)) for name in names}
    directory = inventory if inventory.is_dir() else inventory.parent
    found = reached({name: variables.get(name, {}) for name in names}, directory)
    return build_cluster(inventory, found, of_host)


def parse_listing(listing: Mapping[str, Any], inventory: Path) -> tuple[dict[str, Group], dict[str, dict[str, Any]]]:
    """The groups of what `ansible-inventory --list` said, and the variables of hosts; pure. Raises BadInputError."""
    meta = listing.get("_meta", {})
    variables = meta.get("hostvars", {}) if isinstance(meta, dict) else None
    if not isinstance(variables, dict) or not all(isinstance(each, dict) for each in variables.values()):
        raise _unreadable(inventory, "its hostvars are no variables of hosts")
    groups = {}
    for name, entry in listing.items():
        if name == "_meta":
            continue
        hosts, children = (entry.get(key, []) if isinstance(entry, dict) else None for key in ("hosts", "children"))
        if not _are_names(hosts) or not _are_names(children):
            raise _unreadable(inventory, f"group {name[:200]!r} does not name hosts and groups")
        groups[name] = Group(tuple(hosts), tuple(children))
    return groups, variables


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _unreadable(inventory: Path, why: object) -> BadInputError:
    return BadInputError(
        f"Ansible said nothing of inventory {inventory} that can be read: {why}",
        f"look at what this prints: ansible-inventory --list -i {inventory}",
    )


def build_cluster(
    inventory: Path, variables: Mapping[str, Mapping[str, Any]], groups: Mapping[str, frozenset[str]] | None = None
) -> Cluster:
    """Make a Cluster of the host variables, and the groups that each host is in; pure.

    Raises BadInputError for a missing or doubled address, for unknown values, and where hosts differ in what is the cluster's.
    """
    directory = inventory if inventory.is_dir() else inventory.parent
    nodes = tuple(
        replace(_node(name, values, directory), groups=(groups or {}).get(name, frozenset()))
        for name, values in variables.items()
    )
    owner: dict[str, str] = {}
    for node in nodes:
        if node.address in owner:
            raise BadInputError(
                f"hosts {owner[node.address]} and {node.name} have one address, {node.address}",
                f"give each its own ansible_host in {inventory}",
            )
        owner[node.address] = node.name
    if not any(node.counts for node in nodes):
        raise BadInputError(
            f"{inventory} has no node that counts: node_counts is false for all", "leave node_counts out for some hosts"
        )
    read = {name: HostVariables(name, values) for name, values in variables.items()}

    def common(variable: str, value: Callable[[HostVariables], Any]) -> Any:
        return same_everywhere({name: value(host) for name, host in read.items()}, variable)

    return Cluster(
        inventory=inventory,
        kind=common("cluster_kind", lambda host: host.text("cluster_kind") or "pi"),
        nodes=tuple(node for node in nodes if node.counts),
        others=tuple(node for node in nodes if not node.counts),
        port=common("cluster_port", lambda host: host.port("cluster_port", DEFAULT_PORT)),
        network_namespace=common("cluster_network_namespace", lambda host: host.text("cluster_network_namespace")),
        time_dilation=common("cluster_time_dilation", lambda host: host.factor("cluster_time_dilation")),
        link=common("cluster_link", lambda host: host.link()),
        power_meters=common("cluster_power_meters", lambda host: host.meters("cluster_power_meters")),
    )


def _node(name: str, values: Mapping[str, Any], directory: Path) -> Node:
    host = HostVariables(name, values)
    local = host.is_local()
    key_file = host.path("ansible_ssh_private_key_file")
    pythons = host.words("ansible_python_interpreter")
    python = _PYTHON if pythons else host.text("ansible_python_interpreter") or _PYTHON
    return Node(
        name=name,
        address=host.address(),
        local=local,
        root=host.root(),
        supervisor=host.supervisor(),
        user=host.text("ansible_user"),
        ssh_port=host.port("ansible_port", 22),
        key_file=str(key_file) if key_file else None,
        known_hosts=None if local else str(directory / (host.path("cluster_known_hosts") or "known_hosts")),
        threads=host.count("node_threads"),
        cores=host.count("node_cores"),
        profile=host.text("node_profile"),
        power_meter=host.meter("node_power_meter"),
        memory_bytes=host.memory("node_memory"),
        counts=host.truth("node_counts", default=True),
        # `auto` and its like have Ansible look for one.
        python=sys.executable if local else _PYTHON if python.startswith("auto") else python,
        pythons=() if local else pythons,
        login=host.login(),
        become_password=host.password(BECOME_PASSWORD),
    )


def _members(groups: Mapping[str, Group], group: str, above: frozenset[str] = frozenset()) -> list[str]:
    """The hosts of a group and of those below it, in order."""
    entry = groups.get(group, Group())
    names = list(dict.fromkeys(entry.hosts))
    for child in entry.children:
        if child not in above:
            names += [name for name in _members(groups, child, above | {group}) if name not in names]
    return names


def _ansible_inventory(inventory: Path, become_password: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="harness-inventory-") as scratch:
        target = Path(scratch) / "inventory.json"
        # Into a file: on stdout there may be more, for example because of ANSIBLE_VERBOSITY or a plugin that prints.
        command = [sys.executable, "-P", "-m", _RESOLVE]  # nothing of the working directory is imported
        command += ["-i", str(inventory.absolute()), "--list", "--output", str(target)]
        with _password_pipe(become_password) as pipe:
            _ansible(command, inventory, pipe)
        return _answer(target, inventory)


def _answer(file: Path, inventory: Path) -> dict[str, Any]:
    """What Ansible wrote into a file: a JSON object. Raises BadInputError where it is none."""
    try:
        return parse_json_line(file.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(inventory, error) from None


@contextmanager
def _password_pipe(password: str | None) -> Iterator[int | None]:
    """A pipe with the password, so that it is in no file and no environment; its descriptor."""
    if password is None:
        yield None
        return
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as file:
            file.write(password)
        yield reading
    finally:
        os.close(reading)


def _ansible(command: list[str], inventory: Path, password: int | None) -> None:
    modules = os.pathsep.join(filter(None, [str(Path(harness.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**ansible_environment(), **_QUIETLY, "PYTHONPATH": modules}
    if password is not None:
        environment[BECOME_PASSWORD_PIPE] = str(password)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=READ_TIMEOUT_SECONDS,
            check=False,
            env=environment,
            pass_fds=() if password is None else (password,),
        )
    except subprocess.TimeoutExpired:
        raise BadInputError(f"Ansible did not read {inventory} within {READ_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise BadInputError(
            f"Ansible cannot read inventory {inventory}: {' '.join(reason[-3:])}",
            f"mend it until this works: ansible-inventory --list -i {inventory}",
        )
