"""The links of a cluster as asked for: a cable for each node to the switch, or one medium. Nodes that run keep running."""

from __future__ import annotations

from collections.abc import Sequence

from harness.nodes import namespace
from harness.virtual.blueprint import Blueprint
from harness.virtual.host import medium, network
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import AddressPlan


def ensure(blueprint: Blueprint, machines: Sequence[Machine]) -> list[str]:
    """Change what differs from the blueprint, and return what was changed.

    A node whose cable has to be made anew is stopped first. A medium is removed before anything that it leads is changed, and
    made last, so that one that is there is whole.
    """
    cluster, link = blueprint.options.name, blueprint.link.slowed(blueprint.options.dilation)
    text = blueprint.mark(blueprint.options.link)
    ports = network.ports(cluster)
    mark = f"{text}, {len(machines)} stations" if link.shared else None
    found = ports[medium.AIR].rate if medium.AIR in ports else None
    nodes = [machine.node for machine in machines]
    is_whole = found == mark and all(_is_finished(ports.get(node.name), node.namespace, text) for node in nodes)
    if medium.AIR in ports and not is_whole:
        medium.remove(cluster)
    rate = None if link.shared else link.rate
    changes = []
    for machine in machines:
        changes += _ensure_cable(machine, ports.get(machine.node.name), blueprint.addresses, text, rate)
    if link.shared and not is_whole:
        medium.make(cluster, nodes, link, str(mark))
        changes.append(f"one medium for {len(nodes)} nodes: {text}")
    if link.shared:
        medium.limit_messages(cluster, link)
    return changes


def _is_finished(port: network.Port | None, end: str, text: str) -> bool:
    return port is not None and port.rate == text and namespace.exists(end)


def _ensure_cable(
    machine: Machine, port: network.Port | None, addresses: AddressPlan, text: str, rate: int | None
) -> list[str]:
    node, changes = machine.node, []
    if port is None or port.rate is None or not namespace.exists(node.namespace):
        machine.stop()
        network.connect(node, addresses, text, rate)
        return []
    if port.rate != text:
        network.set_rate(node, text, rate)
        changes.append(f"{node.name}: link {text}")
    if not port.connected:
        network.set_connected(node, connected=True)
        changes.append(f"{node.name}: link restored")
    return changes
