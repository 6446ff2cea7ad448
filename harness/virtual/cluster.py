"""A cluster that is up: the state of its nodes, commands inside its network, and faults as boards have them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from harness.errors import BadInputError, ClusterError
from harness.nodes import namespace
from harness.system.ssh import greets
from harness.virtual.blueprint import Blueprint
from harness.virtual.cpu import profile, speed
from harness.virtual.host import network, requirements
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import controller_namespace
from harness.virtual.site import Site
from harness.virtual.state import Places, Record, locked, places_of, read_record
from harness.virtual.up import wait_until_running


@dataclass(frozen=True)
class NodeStatus:
    """One node as it is now; `quota` in cores and `memory` in bytes are the limits in force, None for none.

    `cpu_factor` is by what threads are stretched, None where they are not. `state` is the machine's; `link` is its rate,
    `cut`, or `none` where there is no cable.
    """

    name: str
    address: str
    state: str
    ssh: bool
    quota: float | None
    cpu_factor: float | None
    memory: int | None
    link: str

    @property
    def is_up(self) -> bool:
        """Whether the node can be used."""
        return self.ssh and self.state == "running"


def status(name: str) -> list[NodeStatus]:
    """Every node of cluster `name` as it is now; ClusterError when there is no such cluster."""
    requirements.require_root()
    site = Site.of(name)
    nodes = Blueprint.of(_record(site.places).options).nodes
    ports = network.ports(name)
    greeted = [False] * len(nodes)
    controller = controller_namespace(name)
    if namespace.exists(controller):
        with ThreadPoolExecutor(len(nodes), initializer=partial(namespace.enter_network_namespace, controller)) as pool:
            greeted = list(pool.map(lambda node: greets(node.address), nodes))
    return [
        _status_of(site.machine(node), ports.get(node.name), answers)
        for node, answers in zip(nodes, greeted, strict=True)
    ]


def execute(name: str, command: list[str]) -> NoReturn:
    """Replace this process by `command`, in the controller's network namespace, with this cluster's inventory as the default.

    Exit status and signals are then the command's own. Raises BadInputError when there is
    no such command and ClusterError when the cluster is not up.
    """
    requirements.require_root()
    places = places_of(name)
    _record(places)
    if not command:
        raise BadInputError("no command given", "write it after two hyphens: harness cluster exec -- harness check")
    environment = os.environ | environment_inside(places)
    namespace.enter_network_namespace(controller_namespace(name))
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        raise BadInputError(f"{command[0]} cannot be run: {error.strerror}", "check the command after `--`") from error


def environment_inside(places: Places) -> dict[str, str]:
    """Environment variables of commands in the cluster's network: its inventory, and the way out to the machine's network."""
    return {
        "HARNESS_INVENTORY": str(places.inventory),
        "ANSIBLE_INVENTORY": str(places.inventory),
        "HARNESS_MACHINE_NETWORK": str(places.machine_network),
    }


def command_inside(name: str) -> tuple[list[str], dict[str, str]]:
    """What runs a command in the network of cluster `name`: the words before it, and its environment variables.

    Raises BadInputError for anyone but root, and ClusterError when the cluster is not up.
    """
    requirements.require_root()
    places = places_of(name)
    _record(places)
    network = namespace.NAMESPACES / controller_namespace(name)
    return ["nsenter", f"--net={network}"], environment_inside(places)


def inventory(name: str) -> Path:
    """Inventory of cluster `name`; ClusterError when it is not up."""
    places = places_of(name)
    _record(places)
    return places.inventory


def power_off(name: str, node: str) -> None:
    """Pull the plug of `node`: all its processes die at once; its disk stays."""
    _machine(name, node).stop()


def power_on(name: str, node: str) -> None:
    """Start `node` again and wait until it runs; ClusterError when it does not."""
    machine = _machine(name, node)
    places = places_of(name)
    record = _record(places)
    with locked(places):
        if machine.is_running:
            return
        machine.stop()
        machine.start(Blueprint.of(record.options).memory)
        failures = wait_until_running(places, [machine])
        machine.group.set_quota(record.node_quotas.get(node, record.quota), record.options.dilation)
        for reason in failures.values():
            raise machine.failure(reason)


def cut_link(name: str, node: str) -> None:
    """Unplug `node`'s network cable."""
    network.set_connected(_machine(name, node).node, connected=False)


def restore_link(name: str, node: str) -> None:
    """Plug `node`'s network cable in again."""
    network.set_connected(_machine(name, node).node, connected=True)


def set_quota(name: str, node: str, fraction: float | None) -> None:
    """Give `node` `fraction` cores (None: no limit) until the next `up`."""
    dilation = _record(places_of(name)).options.dilation
    profile.check("none", fraction, dilation, speed.QUOTA)
    _machine(name, node).group.set_quota(fraction, dilation)


def _status_of(machine: Machine, port: network.Port | None, answers: bool) -> NodeStatus:
    link = "none" if port is None or port.rate is None else port.rate if port.connected else "cut"
    node, group, told = machine.node, machine.group, speed.told(machine.root) or {}
    factor = told.get("factor")
    return NodeStatus(
        name=node.name,
        address=node.address,
        state=machine.state,
        ssh=answers,
        quota=group.quota(),
        cpu_factor=factor if isinstance(factor, float) else None,
        memory=group.memory(),
        link=link,
    )


def _machine(name: str, node: str) -> Machine:
    requirements.require_root()
    site = Site.of(name)
    return site.machine(Blueprint.of(_record(site.places).options).node(node))


def _record(places: Places) -> Record:
    record = read_record(places)
    if record is None:
        raise ClusterError(f"no virtual cluster {places.name} is up", f"run `harness cluster up --name {places.name}`")
    return record
