"""The switch, its ports and their rates, all inside namespaces.

A node's cable, seen from the node (everything but `eth0` is in the switch's namespace, out of the node's reach):

    eth0 (macvlan) - node01-card [htb] === node01 [htb] - switch (bridge)

`node01` shapes what goes to the node, `node01-card` what comes from it. `eth0` has no queue: it hands every message on to the
card, and the message stays the sending socket's until the card has sent it, so that sockets feel a full card, as a board's do.
The controller's cable is made alike.

`htb`, not `tbf`: a message that the kernel carries in one piece takes as long as its frames would, but stays one piece. A `tbf`
with a short burst cuts it into frames at every port, and the nodes' processors pay for each: no switch of boards does that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.nodes import namespace
from harness.virtual.host.command import run
from harness.virtual.host.names import AddressPlan, VirtualNode, controller_namespace, is_namespace_of, switch_namespace

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
CARD_QUEUE = "pfifo_fast"
SWITCH_QUEUE = f"bfifo limit {BUFFER_BYTES}"
_BURST_BYTES = 3_100  # two full frames
_QUANTUM_BYTES = 60_000  # of no use with one class, but the kernel warns of what it would choose itself
_BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
REMEDY = (
    "the kernel may lack it: run `modprobe -a veth macvlan bridge sch_htb overlay nft_fwd_netdev nft_numgen`, or install a "
    "full kernel (Debian: apt-get install linux-image-amd64, Ubuntu: apt-get install linux-modules-extra-$(uname -r))"
)


@dataclass(frozen=True)
class Port:
    """One port of the switch as it is: `rate` as it was marked when it was finished (None: unfinished), `connected`."""

    rate: str | None
    connected: bool


def shaping_commands(interface: str, rate: int, queue: str) -> list[str]:
    """`tc -batch` lines that let `interface` send `rate` bits per second of whole Ethernet frames out of `queue`. Pure."""
    return [
        f"qdisc replace dev {interface} root handle 1: htb default 1",
        class_command(interface, "1:", "1:1", round(rate * COUNTED_SHARE)),
        f"qdisc replace dev {interface} parent 1:1 handle 2: {queue}",
    ]


def class_command(
    interface: str, parent: str, name: str, rate: int, ceiling: int | None = None, quantum: int = _QUANTUM_BYTES
) -> str:
    """`tc -batch` line of a class that is sure of `rate` bits per second, of up to `ceiling`, `quantum` bytes a turn. Pure."""
    burst = f"burst {_BURST_BYTES} cburst {_BURST_BYTES} quantum {quantum}"
    limits = f"rate {rate}bit ceil {ceiling or rate}bit"
    return f"class replace dev {interface} parent {parent} classid {name} htb {limits} {burst}"


def switch_commands() -> list[str]:
    """`ip -batch` lines that make the switch. Pure."""
    return [
        f"link add {SWITCH} {_BRIDGE}",
        f"link set {SWITCH} addrgenmode none",
        f"link set {SWITCH} up",
    ]


def cable_commands(port: str, mac: str, end: str) -> list[str]:
    """`ip -batch` lines, for the switch's namespace, that lead a cable from `port` to namespace `end`. Pure."""
    card = card_of(port)
    return [
        f"link add {port} type veth peer name {card} address {mac}",
        f"link add link {card} name {NODE_INTERFACE} address {mac} netns {end} type macvlan mode passthru",
        *(f"link set {interface} addrgenmode none" for interface in (port, card)),
        f"link set {port} master {SWITCH}",
        *(f"link set {interface} up" for interface in (port, card)),
    ]


def card_of(port: str) -> str:
    """Name of the other end of `port`'s cable. Pure."""
    return f"{port}-card"


def end_commands(address: str, prefix_length: int) -> list[str]:
    """`ip -batch` lines for the namespace that a cable leads to. Pure."""
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
        batch(switch, switch_commands())
    port = ports(cluster).get(CONTROLLER_PORT)
    if port is not None and port.rate == controller_rate and namespace.exists(controller):
        return False
    if port is None or port.rate is None or not namespace.exists(controller):
        mac = f"02:00:{plan.subnet.network_address.packed.hex(':')[:-3]}:fe"
        _unplug(switch, CONTROLLER_PORT, controller)
        _plug_in(switch, CONTROLLER_PORT, mac, controller, end_commands(plan.controller, plan.prefix_length))
    _shape(switch, CONTROLLER_PORT, rate)
    mark(switch, CONTROLLER_PORT, controller_rate)
    return True


def connect(node: VirtualNode, plan: AddressPlan, link: str, rate: int | None) -> None:
    """Give `node` a fresh namespace, plugged into the switch at `rate` bits per second (None: no limit), marked `link`."""
    switch = switch_namespace(node.cluster)
    disconnect(node)
    _plug_in(switch, node.name, node.mac, node.namespace, end_commands(node.address, plan.prefix_length))
    set_rate(node, link, rate)


def set_rate(node: VirtualNode, link: str, rate: int | None) -> None:
    """Shape `node`'s link both ways to `rate` bits per second, and mark its port `link`: it is then finished."""
    switch = switch_namespace(node.cluster)
    _shape(switch, node.name, rate)
    mark(switch, node.name, link)


def disconnect(node: VirtualNode) -> None:
    """Remove `node`'s cable and namespace, as far as they are there."""
    _unplug(switch_namespace(node.cluster), node.name, node.namespace)


def set_connected(node: VirtualNode, connected: bool) -> None:
    """Plug in or unplug `node`'s cable at the switch; the node sees its carrier go."""
    batch(switch_namespace(node.cluster), [f"link set {node.name} {'up' if connected else 'down'}"])


def ports(cluster: str) -> dict[str, Port]:
    """The switch's ports by name (nodes' names and `controller`); empty where there is no switch.

    A port without a card is none: the cable is half made, or an older harness's, and `up` makes it anew.
    """
    switch = switch_namespace(cluster)
    if not namespace.exists(switch):
        return {}
    found = interfaces(switch)
    return {
        name: Port(each.get("ifalias"), "UP" in each["flags"]) for name, each in found.items() if card_of(name) in found
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
    return namespace.exists(name) and "UP" in interfaces(name).get(SWITCH, {}).get("flags", [])


def interfaces(name: str) -> dict[str, dict[str, Any]]:
    """The interfaces in namespace `name`, as `ip` describes each, by their names."""
    found = json.loads(run(["ip", "-n", name, "-json", "link", "show"]) or "[]")
    return {each["ifname"]: each for each in found}


def _plug_in(switch: str, port: str, mac: str, end: str, commands: list[str]) -> None:
    """Make namespace `end`, lead a cable to it from `port`, and run `commands` (`ip -batch` lines) there."""
    run(["ip", "netns", "add", end])
    batch(switch, cable_commands(port, mac, end))
    batch(end, commands)


def _unplug(switch: str, port: str, end: str) -> None:
    """Remove `port`'s cable and namespace `end`, as far as they are there."""
    if namespace.exists(switch):
        for interface in interfaces(switch):  # older harnesses' cables had more parts
            if interface == port or interface.startswith(f"{port}-"):
                _remove_link(switch, interface)
    remove_namespace(end)


def _remove_link(name: str, interface: str) -> None:
    if interface in interfaces(name):  # it may have gone with its peer
        run(["ip", "-n", name, "link", "delete", interface])


def batch(name: str, lines: list[str], tool: str = "ip") -> None:
    """Run `-batch` lines of `ip`, `tc` or `bridge` in namespace `name`."""
    run([tool, "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n", remedy=REMEDY)


def _shape(switch: str, port: str, rate: int | None) -> None:
    """Shape both directions of `port`'s cable to `rate` bits per second, None for no limit."""
    for interface, queue in ((port, SWITCH_QUEUE), (card_of(port), CARD_QUEUE)):
        shaped = "htb" in run(["tc", "-n", switch, "qdisc", "show", "dev", interface])
        if rate is not None:
            lines = shaping_commands(interface, rate, queue)
            if shaped:
                del lines[0]  # the root refuses to be replaced by its like
            batch(switch, lines, "tc")
        elif shaped:
            run(["tc", "-n", switch, "qdisc", "delete", "dev", interface, "root"])


def mark(name: str, interface: str, text: str) -> None:
    """Keep `text` on an interface: what it was made as, once it is finished."""
    run(["ip", "-n", name, "link", "set", "dev", interface, "alias", text])
