"""The switch, its ports and their rates, all inside namespaces.

A node's cable, seen from the node (everything but `eth0` is in the switch's namespace, out of the node's reach):

    eth0 [htb] === node01 [htb] - node01-b (bridge) - node01-u [htb] === node01-d - switch (bridge)

`node01` shapes what goes to the node, `node01-u` what comes from it. The node's own `eth0` is shaped alike only so that
its sockets feel a full network card, as a board's do; when a node removes that, `node01-u` still holds.

`htb`, not `tbf`: a message that the kernel carries in one piece takes as long as its frames would, but stays one piece. A `tbf`
with a short burst cuts it into frames at every port, and the nodes' processors pay for each: no switch of boards does that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.virtual import namespace
from harness.virtual.command import run
from harness.virtual.names import AddressPlan, Node, controller_namespace, is_namespace_of, switch_namespace

SWITCH = "switch"
CONTROLLER_PORT = "controller"
NODE_INTERFACE = "eth0"
# Of what a full frame takes on the wire, the kernel does not count 24 of 1538 bytes: preamble, check sum and gap. The rate
# is lowered by their share, since a message in one piece gives no count of its frames: 100mbit carries 94.1 Mbit/s of TCP data.
COUNTED_SHARE = 1514 / 1538
# What waits at a port before the switch drops. Small switches push back instead of dropping (802.3x), hence the depth.
BUFFER_BYTES = 640_000
# What waits in the node: what a kernel gives every card unless told otherwise, by the sockets' priority and 1000 messages deep,
# more than sockets hand it. With the switch's buffer here too, MXNet's LeNet on 11 nodes lost packets before its own card, and
# a step took 430 ms instead of 300.
_CARD_QUEUE = "pfifo_fast"
_BURST_BYTES = 3_100  # two full frames
_QUANTUM_BYTES = 60_000  # of no use with one class, but the kernel warns of what it would choose itself
_BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
_REMEDY = (
    "the kernel may lack it: run `modprobe -a veth bridge sch_htb overlay`, or install a full kernel "
    "(Debian: apt-get install linux-image-amd64, Ubuntu: apt-get install linux-modules-extra-$(uname -r))"
)


@dataclass(frozen=True)
class Port:
    """One port of the switch as it is: `rate` as it was marked when it was finished (None: unfinished), `connected`."""

    rate: str | None
    connected: bool


def shaping_commands(interface: str, rate: int) -> list[str]:
    """`tc -batch` lines that let `interface` send `rate` bits per second of whole Ethernet frames. Pure."""
    queue = f"3: {_CARD_QUEUE}" if interface == NODE_INTERFACE else f"2: bfifo limit {BUFFER_BYTES}"
    counted = f"{round(rate * COUNTED_SHARE)}bit"
    burst = f"burst {_BURST_BYTES} cburst {_BURST_BYTES} quantum {_QUANTUM_BYTES}"
    return [
        f"qdisc replace dev {interface} root handle 1: htb default 1",
        f"class replace dev {interface} parent 1: classid 1:1 htb rate {counted} ceil {counted} {burst}",
        f"qdisc replace dev {interface} parent 1:1 handle {queue}",
    ]


def switch_commands() -> list[str]:
    """`ip -batch` lines that make the switch. Pure."""
    return [
        f"link add {SWITCH} {_BRIDGE}",
        f"link set {SWITCH} addrgenmode none",
        f"link set {SWITCH} up",
    ]


def cable_commands(node: Node) -> list[str]:
    """`ip -batch` lines, for the switch's namespace, that plug in `node`. Pure."""
    port, bridge, up, down = cable_interfaces(node)
    return [
        f"link add {port} type veth peer name {NODE_INTERFACE} address {node.mac} netns {node.namespace}",
        f"link add {bridge} {_BRIDGE}",
        f"link add {up} type veth peer name {down}",
        *(f"link set {interface} addrgenmode none" for interface in (port, bridge, up, down)),
        f"link set {port} master {bridge}",
        f"link set {up} master {bridge}",
        f"link set {down} master {SWITCH}",
        *(f"link set {interface} up" for interface in (port, bridge, up, down)),
    ]


def cable_interfaces(node: Node) -> tuple[str, str, str, str]:
    """Names of the cable's interfaces in the switch's namespace: port, bridge, upper and lower end. Pure."""
    return node.name, f"{node.name}-b", f"{node.name}-u", f"{node.name}-d"


def end_commands(address: str, prefix_length: int) -> list[str]:
    """`ip -batch` lines for the namespace at the other end of a port. Pure."""
    return [
        "link set lo up",
        f"link set {NODE_INTERFACE} addrgenmode none",
        f"address add {address}/{prefix_length} brd + dev {NODE_INTERFACE}",
        f"link set {NODE_INTERFACE} up",
    ]


def ensure_switch(cluster: str, plan: AddressPlan, controller_rate: str, rate: int | None) -> bool:
    """Make the switch and the controller's port where they are missing; say whether anything was made or changed.

    `controller_rate` is the mark the port gets (the user's words), `rate` its bits per second, None for no limit.
    """
    switch, controller = switch_namespace(cluster), controller_namespace(cluster)
    if not _has_switch(switch):
        remove_namespace(switch)  # half made by an `up` that was killed
        run(["ip", "netns", "add", switch])
        _batch(switch, switch_commands())
    port = ports(cluster).get(CONTROLLER_PORT)
    if port is not None and port.rate == controller_rate and namespace.exists(controller):
        return False
    if port is None or port.rate is None or not namespace.exists(controller):
        remove_namespace(controller)
        _remove_link(switch, CONTROLLER_PORT)
        run(["ip", "netns", "add", controller])
        mac = f"02:00:{plan.subnet.network_address.packed.hex(':')[:-3]}:fe"
        _batch(
            switch,
            [
                f"link add {CONTROLLER_PORT} type veth peer name {NODE_INTERFACE} address {mac} netns {controller}",
                f"link set {CONTROLLER_PORT} addrgenmode none",
                f"link set {CONTROLLER_PORT} master {SWITCH}",
                f"link set {CONTROLLER_PORT} up",
            ],
        )
        _batch(controller, end_commands(plan.controller, plan.prefix_length))
    _shape(switch, CONTROLLER_PORT, rate)
    _shape(controller, NODE_INTERFACE, rate)
    _mark(switch, CONTROLLER_PORT, controller_rate)
    return True


def connect(node: Node, plan: AddressPlan, link: str, rate: int) -> None:
    """Give `node` a fresh namespace, plugged into the switch at `rate` bits per second, marked `link`."""
    switch = switch_namespace(node.cluster)
    disconnect(node)
    run(["ip", "netns", "add", node.namespace])
    _batch(switch, cable_commands(node))
    _batch(node.namespace, end_commands(node.address, plan.prefix_length))
    set_rate(node, link, rate)


def set_rate(node: Node, link: str, rate: int) -> None:
    """Shape `node`'s link both ways to `rate` bits per second, and mark its port `link`: it is then finished."""
    switch = switch_namespace(node.cluster)
    port, _, up, _ = cable_interfaces(node)
    _shape(switch, port, rate)
    _shape(switch, up, rate)
    _shape(node.namespace, NODE_INTERFACE, rate)
    _mark(switch, port, link)


def disconnect(node: Node) -> None:
    """Remove `node`'s cable and namespace, as far as they are there."""
    switch = switch_namespace(node.cluster)
    remove_namespace(node.namespace)
    if namespace.exists(switch):
        port, bridge, up, _ = cable_interfaces(node)
        for interface in (port, bridge, up):  # the lower end goes with the upper
            _remove_link(switch, interface)


def set_connected(node: Node, connected: bool) -> None:
    """Plug in or unplug `node`'s cable at the switch; the node sees its carrier go."""
    _batch(switch_namespace(node.cluster), [f"link set {node.name} {'up' if connected else 'down'}"])


def ports(cluster: str) -> dict[str, Port]:
    """The switch's ports by name (nodes' names and `controller`); empty where there is no switch."""
    switch = switch_namespace(cluster)
    if not namespace.exists(switch):
        return {}
    inner = ("-b", "-u", "-d")
    return {
        name: Port(link.get("ifalias"), "UP" in link["flags"])
        for name, link in _links(switch).items()
        if name not in (SWITCH, "lo") and not name.endswith(inner)
    }


def namespaces_of(cluster: str) -> list[str]:
    """Names of the cluster's namespaces that are there."""
    if not namespace.NAMESPACES.is_dir():
        return []
    return sorted(path.name for path in namespace.NAMESPACES.iterdir() if is_namespace_of(cluster, path.name))


def remove_namespace(name: str) -> None:
    """Remove network namespace `name` where it is there."""
    if namespace.exists(name):
        run(["ip", "netns", "delete", name])


def _has_switch(name: str) -> bool:
    """Whether the switch was finished: up is the last thing it is made."""
    return namespace.exists(name) and "UP" in _links(name).get(SWITCH, {}).get("flags", [])


def _links(name: str) -> dict[str, dict[str, Any]]:
    links = json.loads(run(["ip", "-n", name, "-json", "link", "show"]) or "[]")
    return {link["ifname"]: link for link in links}


def _remove_link(name: str, interface: str) -> None:
    if interface in _links(name):
        run(["ip", "-n", name, "link", "delete", interface])


def _batch(name: str, lines: list[str]) -> None:
    run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n", remedy=_REMEDY)


def _shape(name: str, interface: str, rate: int | None) -> None:
    shaped = "htb" in run(["tc", "-n", name, "qdisc", "show", "dev", interface])
    if rate is None:
        if shaped:
            run(["tc", "-n", name, "qdisc", "delete", "dev", interface, "root"])
        return
    lines = shaping_commands(interface, rate)[1 if shaped else 0 :]  # the root refuses to be replaced by its like
    run(["tc", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n", remedy=_REMEDY)


def _mark(name: str, interface: str, text: str) -> None:
    run(["ip", "-n", name, "link", "set", "dev", interface, "alias", text])
