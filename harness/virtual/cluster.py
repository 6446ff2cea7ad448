"""The virtual cluster as a whole: up, down, status, and the faults that tests ask for.

`up` compares what is there with what is asked and makes the difference, so that running it again, resizing, and repairing
after a crash are one thing. `down` removes what bears the cluster's name or lies in its state directory, nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import harness
from harness.errors import BadInputError, ClusterError
from harness.virtual import cgroup, keys, namespace, network, processes, profile, requirements, rootfs, ssh
from harness.virtual.inventory import inventory_text
from harness.virtual.machine import Machine
from harness.virtual.names import AddressPlan, Node, controller_namespace, nodes_of, prefix
from harness.virtual.state import (
    Options,
    Places,
    claim,
    locked,
    options_json,
    options_of,
    owner_of,
    places_of,
    read_record,
    write_atomically,
)
from harness.virtual.units import bits_per_second, size_in_bytes

READY_LIMIT_SECONDS = 60.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class NodeStatus:
    """One node as it is now; `quota` in cores and `memory` in bytes are the limits in force, None for none."""

    name: str
    address: str
    state: str
    ssh: bool
    quota: float | None
    memory: int | None
    link: str

    @property
    def is_up(self) -> bool:
        """Whether the node can be used."""
        return self.ssh and self.state == "running"


def up(options: Options, say: Say = print) -> list[str]:
    """Bring the cluster to what `options` ask for; return what was changed, empty when it was so already.

    `say` is told of what takes time and of warnings. Raises BadInputError for options that cannot be, before anything
    is touched, and ClusterError when the cluster cannot be brought up.
    """
    places = places_of(options.name)
    nodes = nodes_of(options.name, options.nodes, options.subnet)
    plan = AddressPlan.of(options.subnet)
    rate, memory = bits_per_second(options.link), size_in_bytes(options.memory)
    controller_rate = None if options.controller_link == "none" else bits_per_second(options.controller_link)
    profile.quota_of(options.profile, 1.0, options.cpu)
    requirements.require_all()
    hierarchies = cgroup.find_hierarchies()
    with locked(places):
        _refuse_strangers(places)
        claim(places)
        processes.bind(Path(f"/proc/{os.getpid()}/ns/net"), places.machine_network)
        before = read_record(places)
        if before is not None and options_of(before).subnet != options.subnet:
            raise ClusterError(
                f"cluster {options.name} is up with addresses {options_of(before).subnet}",
                f"run `harness cluster down --name {options.name}` first",
            )
        root, quota = _rootfs(before, say), _quota(options, before)
        changes = _write_state(places, options, nodes, quota, root, before)
        if network.ensure_switch(options.name, plan, options.controller_link, controller_rate):
            changes.append("switch and controller port")
        machines = [_machine(places, hierarchies, node) for node in nodes]
        changes += _shrink(places, hierarchies, nodes)
        started = [
            machine for machine in machines if _ensure_node(machine, places, plan, options, rate, memory, root, changes)
        ]
        _settle(places, machines, started, memory, changes)
        for machine in machines:
            if machine.group.quota() != _in_force(quota.fraction):
                machine.group.set_quota(quota.fraction)
                if machine not in started:
                    changes.append(f"{machine.node.name}: CPU quota {quota.fraction}")
    if warning := profile.shortage(quota.fraction, options.nodes):
        say(f"warning: {warning}")
    return changes


def down(name: str, say: Say = print) -> bool:
    """Remove everything of cluster `name`; False when there was nothing.

    Raises ClusterError when something cannot be removed; what could be is, and `down` can be run again.
    """
    places = places_of(name)
    requirements.require_root()
    if not _is_there(places):
        return False
    with locked(places):
        owner = owner_of(places)
        if owner is not None and owner != places.directory:
            raise ClusterError(
                f"virtual cluster {name} belongs to the state directory {owner}",
                f"set HARNESS_STATE_DIR={owner.parent}",
            )
        hierarchies = cgroup.find_hierarchies()
        for node in cgroup.cluster_nodes(hierarchies, prefix(name)):
            cgroup.NodeGroup(hierarchies, prefix(name), node).kill()
        ssh.end_masters(places.ssh_masters)
        for process in processes.end_all_in(network.namespaces_of(name)):
            say(f"ended {process}: it was in the cluster's network namespace")
        for directory in (places.directory, places.claim):
            processes.unmount_below(directory)
        for name_space in network.namespaces_of(name):
            network.remove_namespace(name_space)
        for hierarchy in hierarchies.all:
            cgroup.remove_tree(hierarchy / prefix(name))
        if places.directory.exists():
            shutil.rmtree(places.directory)
        if places.claim.exists():
            shutil.rmtree(places.claim)
        places.lock.unlink(missing_ok=True)
    return True


def status(name: str) -> list[NodeStatus]:
    """Every node of cluster `name` as it is now; ClusterError when there is no such cluster."""
    places = places_of(name)
    requirements.require_root()
    record = _record(places)
    options = options_of(record)
    nodes = nodes_of(name, options.nodes, options.subnet)
    hierarchies = cgroup.find_hierarchies()
    ports = network.ports(name)
    controller = controller_namespace(name)
    answering: set[str] = set()
    if namespace.exists(controller):
        with ThreadPoolExecutor(len(nodes), initializer=partial(namespace.enter_network_namespace, controller)) as pool:
            greeted = pool.map(lambda node: ssh.answers(node.address), nodes)
            answering = {node.name for node, yes in zip(nodes, greeted, strict=True) if yes}
    return [
        _node_status(_machine(places, hierarchies, node), ports.get(node.name), node.name in answering)
        for node in nodes
    ]


def execute(name: str, command: list[str]) -> NoReturn:
    """Become `command`, inside the controller's network namespace, with this cluster's inventory as the default.

    The process is replaced, so that exit status and signals are the command's own. Raises BadInputError when there is
    no such command and ClusterError when the cluster is not up.
    """
    places = places_of(name)
    requirements.require_root()
    _record(places)
    if not command:
        raise BadInputError("no command given", "write it after two hyphens: harness cluster exec -- harness check")
    environment = os.environ | {
        "HARNESS_INVENTORY": str(places.inventory),
        "ANSIBLE_INVENTORY": str(places.inventory),
        "HARNESS_MACHINE_NETWORK": str(places.machine_network),
    }
    namespace.enter_network_namespace(controller_namespace(name))
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        raise BadInputError(f"{command[0]} cannot be run: {error.strerror}", "check the command after `--`") from error


def inventory(name: str) -> Path:
    """Inventory of cluster `name`; ClusterError when it is not up."""
    places = places_of(name)
    _record(places)
    return places.inventory


def power_off(name: str, node: str) -> None:
    """Pull the plug of `node`: all its processes die at once; its disk stays."""
    _named_machine(name, node).stop()


def power_on(name: str, node: str) -> None:
    """Start `node` again and wait until it runs; ClusterError when it does not."""
    machine = _named_machine(name, node)
    places = places_of(name)
    record = _record(places)
    fraction = record["quota"]["fraction"]
    with locked(places):
        if not machine.is_running:
            memory = size_in_bytes(options_of(record).memory)
            machine.start(memory)
            _settle(places, [machine], [machine], memory, [])
            machine.group.set_quota(fraction)


def cut_link(name: str, node: str) -> None:
    """Unplug `node`'s network cable."""
    network.set_connected(_named_machine(name, node).node, connected=False)


def restore_link(name: str, node: str) -> None:
    """Plug `node`'s network cable in again."""
    network.set_connected(_named_machine(name, node).node, connected=True)


def set_quota(name: str, node: str, fraction: float | None) -> None:
    """Give `node` `fraction` cores (None: no limit) until the next `up`."""
    if fraction is not None:
        profile.quota_of("none", None, fraction)
    _named_machine(name, node).group.set_quota(fraction)


def _ensure_node(
    machine: Machine,
    places: Places,
    plan: AddressPlan,
    options: Options,
    rate: int,
    memory: int,
    root: Path,
    changes: list[str],
) -> bool:
    """Bring one node's cable, disk and processes to what is asked; True when it was started."""
    node = machine.node
    port = network.ports(options.name).get(node.name)
    if port is None or port.rate is None or not namespace.exists(node.namespace):
        machine.stop()
        network.connect(node, plan, options.link, rate)
    elif port.rate != options.link:
        network.set_rate(node, options.link, rate)
        changes.append(f"{node.name}: link {options.link}")
    if port is not None and not port.connected:
        network.set_connected(node, connected=True)
        changes.append(f"{node.name}: link restored")
    if not machine.has_disk:
        machine.stop()
        machine.make_disk(root, places.host_key(node.name), keys.public_key(places.key))
    if machine.is_running:
        if machine.group.memory() != memory:
            machine.group.set_memory(memory)
            changes.append(f"{node.name}: memory {options.memory}")
        return False
    machine.start(memory)
    changes.append(f"{node.name}: started")
    return True


def _settle(places: Places, machines: list[Machine], started: list[Machine], memory: int, changes: list[str]) -> None:
    """Wait until every node runs; a node that was there before and does not answer is started again, once."""
    failures = _wait(places, machines)
    again = [machine for machine in machines if machine.node.name in failures and machine not in started]
    for machine in again:
        machine.stop()
        machine.start(memory)
        started.append(machine)
        changes.append(f"{machine.node.name}: started again")
    if again:
        failures = _wait(places, machines)
    for machine in machines:
        if reason := failures.get(machine.node.name):
            raise machine.failure(reason)


def _wait(places: Places, machines: list[Machine]) -> dict[str, str]:
    """What is wrong with the nodes that do not run within the limit, by name."""
    enter = partial(namespace.enter_network_namespace, controller_namespace(places.name))
    with ThreadPoolExecutor(len(machines), initializer=enter) as pool:
        words = pool.map(lambda machine: ssh.wait_until_running(places, machine.node, READY_LIMIT_SECONDS), machines)
        return {machine.node.name: word for machine, word in zip(machines, words, strict=True) if word is not None}


def _shrink(places: Places, hierarchies: cgroup.Hierarchies, nodes: list[Node]) -> list[str]:
    """Remove the nodes beyond the asked ones; return what was removed."""
    keep = {node.name for node in nodes}
    here = set(cgroup.cluster_nodes(hierarchies, prefix(places.name)))
    nodes_directory = places.node("x").parent
    if nodes_directory.is_dir():
        here |= {path.name for path in nodes_directory.iterdir()}
    changes = []
    for name in sorted(here - keep):
        index = int(name.removeprefix("node"))
        node = Node(places.name, index, "0.0.0.0")  # noqa: S104 - an address it no longer has
        machine = _machine(places, hierarchies, node)
        machine.stop()
        machine.remove_disk()
        machine.group.remove()
        network.disconnect(node)
        for file in places.host_key(name).parent.glob(f"{name}_host_*"):
            file.unlink()
        changes.append(f"{name}: removed")
    return changes


def _write_state(
    places: Places,
    options: Options,
    nodes: list[Node],
    quota: profile.Quota,
    root: Path,
    before: dict[str, Any] | None,
) -> list[str]:
    """Write keys, record and inventory; return what changed of them."""
    places.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys.ensure_key(places.key, f"harness virtual cluster {options.name}")
    for node in nodes:
        keys.ensure_key(places.host_key(node.name), node.name)
    record = {
        "name": options.name,
        "created_at": before["created_at"] if before else datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options_json(options),
        "nodes": {node.name: node.address for node in nodes},
        "controller": AddressPlan.of(options.subnet).controller,
        "link": {
            "bits_per_second": bits_per_second(options.link),
            "overhead_bytes": network.OVERHEAD_BYTES,
            "buffer_seconds": network.BUFFER_SECONDS,
        },
        "memory_bytes": size_in_bytes(options.memory),
        "quota": quota.as_json(),
        "rootfs": {"suite": rootfs.SUITE, "path": str(root)},
        "machine": {"kernel": os.uname().release, "architecture": os.uname().machine, "cores": os.cpu_count()},
        "harness": harness.__version__,
    }
    write_atomically(places.record, json.dumps(record, indent=2) + "\n")
    host_keys = {node.name: keys.public_key(places.host_key(node.name)) for node in nodes}
    changed = write_atomically(places.known_hosts, keys.known_hosts(nodes, host_keys))
    text = inventory_text(options.name, nodes, places.key, places.known_hosts, places.ssh_masters)
    return ["inventory"] if write_atomically(places.inventory, text) or changed else []


def _rootfs(before: dict[str, Any] | None, say: Say) -> Path:
    """The root file system of this cluster: the one it was made with, as long as it is there."""
    if before is not None and Path(before["rootfs"]["path"]).is_dir():
        if Path(before["rootfs"]["path"]).name != rootfs.key_of(rootfs.packages()):
            say("warning: the nodes' package list has changed since this cluster was made: `down` and `up` renew it")
        return Path(before["rootfs"]["path"])
    if not rootfs.is_cached():
        say("building the nodes' root file system (once, about half a minute) ...")
    return rootfs.ensure()


def _quota(options: Options, before: dict[str, Any] | None) -> profile.Quota:
    """The nodes' quota; this machine is measured once in a cluster's life, so that `up` again changes nothing."""
    if options.profile == "none" or options.cpu is not None:
        return profile.quota_of(options.profile, None, options.cpu)
    measured = before["quota"]["machine_sgemm_gflops"] if before else None
    return profile.quota_of(options.profile, measured or profile.measure_machine(), None)


def _in_force(fraction: float | None) -> float | None:
    """`fraction` as the kernel keeps it."""
    if fraction is None:
        return None
    quota, period = cgroup.quota_and_period(fraction)
    return quota / period


def _node_status(machine: Machine, port: network.Port | None, answers: bool) -> NodeStatus:
    state = "absent" if not machine.has_disk else "running" if machine.is_running else "off"
    link = "none" if port is None or port.rate is None else port.rate if port.connected else "cut"
    group = machine.group
    return NodeStatus(machine.node.name, machine.node.address, state, answers, group.quota(), group.memory(), link)


def _machine(places: Places, hierarchies: cgroup.Hierarchies, node: Node) -> Machine:
    return Machine(node, places.node(node.name), cgroup.NodeGroup(hierarchies, prefix(places.name), node.name))


def _named_machine(name: str, node: str) -> Machine:
    places = places_of(name)
    requirements.require_root()
    options = options_of(_record(places))
    for each in nodes_of(name, options.nodes, options.subnet):
        if each.name == node:
            return _machine(places, cgroup.find_hierarchies(), each)
    raise BadInputError(f"virtual cluster {name} has no node {node!r}", "see `harness cluster status`")


def _record(places: Places) -> dict[str, Any]:
    record = read_record(places)
    if record is None:
        raise ClusterError(f"no virtual cluster {places.name} is up", f"run `harness cluster up --name {places.name}`")
    return record


def _is_there(places: Places) -> bool:
    return places.directory.exists() or places.claim.exists()


def _refuse_strangers(places: Places) -> None:
    """ClusterError when namespaces bear our names though no cluster of ours has claimed them."""
    if owner_of(places) is None and (strangers := network.namespaces_of(places.name)):
        raise ClusterError(
            f"network namespaces that this harness did not make are in the way: {', '.join(strangers)}",
            "use another --name, or remove them with `ip netns delete`",
        )
