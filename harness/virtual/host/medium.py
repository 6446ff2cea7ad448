"""A medium that all nodes share, as on Wi-Fi: what is on the air passes one queue, `air`, beside the switch.

    eth0 - node01-card === node01 - air [htb] === air-card - switch (bridge) - node02 - air [htb] === air-card - switch
        - node02 === node02-card - eth0

A node (a station) has its cable as on a switch, but without a rate. Whatever comes from it is led to `air`, and whatever the
switch sends to it is led there once more before it leaves: from a station to the access point, from the access point to a
station. So a frame between two stations takes its time on the air twice, and one between a station and the controller, which
has a cable to the access point, once. The rate of `air` is that of both directions together: the medium is half-duplex.

Half of the medium is the stations' to send, half the access point's, and each half is even between the stations; what one does
not use goes to the others. With less for the access point it would throw away what stations have sent to each other.

Frames are led by nftables, which marks them with how far they have come; it also loses them, one by one, on their first way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import ClusterError
from harness.nodes import namespace
from harness.system import packages
from harness.virtual.host import network
from harness.virtual.host.command import run
from harness.virtual.host.names import VirtualNode, switch_namespace
from harness.virtual.link import Link

AIR = "air"
_TABLE = "netdev medium"
_CARD = network.card_of(AIR)
# How far a frame has come. Numbers that nobody else marks frames with.
_SENT, _RELAYED, _FROM_CABLE = 0xA1, 0xA2, 0xA3
# Classes of the stations' half and of the access point's, and what is added to a station's number for its class in each.
_STATIONS, _ACCESS_POINT = "1:2", "1:3"
_OF_SENT, _OF_RELAYED, _OF_CABLE = 0x100, 0x200, 0x300
_DELAYED_FRAMES = 1000
_LOSS_UNIT = 1_000_000
_FREE_FRAMES = 65_535
# What a station sends in one turn: 4 ms at 30 Mbit/s, about as long as Wi-Fi's own aggregates. In turns of whole messages of
# 64 KB, 17 ms, three stations' shares of four seconds differed by up to 11%.
_TURN_FRAMES = 10
_TURN_BYTES = _TURN_FRAMES * 1514
_TOOLS = ("nft", "bridge", "nsenter", "unshare")


def air_commands() -> list[str]:
    """`ip -batch` lines that make `air`, and lead what it sends to the switch. Pure."""
    return [
        f"link add {AIR} type veth peer name {_CARD}",
        *(f"link set {interface} addrgenmode none" for interface in (AIR, _CARD)),
        f"link set {_CARD} master {network.SWITCH}",
        f"link set {_CARD} type bridge_slave learning off",  # stations are behind their ports, whatever comes from here
        *(f"link set {interface} up" for interface in (AIR, _CARD)),
    ]


def queue_commands(link: Link, stations: Sequence[int]) -> list[str]:
    """`tc -batch` lines that let `air` send `link.rate` bits per second, evenly for the stations (their numbers). Pure."""
    half = link.rate // 2
    delay = f"netem limit {_DELAYED_FRAMES} delay {link.latency * 1e6:.0f}us {link.jitter * 1e6:.0f}us"
    delayed = link.latency > 0
    lines = [
        f"qdisc add dev {AIR} root handle 1: htb",
        network.class_command(AIR, "1:", "1:1", link.rate),
        network.class_command(AIR, "1:1", _STATIONS, half, link.rate, _TURN_BYTES),
        network.class_command(AIR, "1:1", _ACCESS_POINT, half, link.rate, _TURN_BYTES),
    ]
    for number in stations:
        for parent, base, share, queue in (
            (_STATIONS, _OF_SENT, half, delay if delayed else network.CARD_QUEUE),
            (_ACCESS_POINT, _OF_RELAYED, half // 2, network.SWITCH_QUEUE),
            (_ACCESS_POINT, _OF_CABLE, half // 2, delay if delayed else network.SWITCH_QUEUE),
        ):
            name = _class(base, number)
            lines.append(network.class_command(AIR, parent, name, share // len(stations), link.rate, _TURN_BYTES))
            lines.append(f"qdisc add dev {AIR} parent {name} {queue}")
    return lines


def rules(stations: Sequence[tuple[str, int]], loss: float) -> str:
    """nftables rules that lead the frames of the stations (port and number) to `air`, and lose the share `loss`. Pure.

    They replace the earlier ones at once.
    """
    chains = [_no_rules(), f"table {_TABLE} {{"]
    for port, number in stations:
        chains += [
            f"  chain {port}_sends {{",
            f'    type filter hook ingress device "{port}" priority 0; policy accept;',
            f"    {_led(_SENT, _OF_SENT, number)}",
            "  }",
            f"  chain {port}_receives {{",
            f'    type filter hook egress device "{port}" priority 0; policy accept;',
            f"    meta mark {{ {_RELAYED:#x}, {_FROM_CABLE:#x} }} accept",
            f"    meta mark {_SENT:#x} {_led(_RELAYED, _OF_RELAYED, number)}",
            f"    {_led(_FROM_CABLE, _OF_CABLE, number)}",
            "  }",
        ]
    if loss:
        lost = f"numgen random mod {_LOSS_UNIT} < {round(loss * _LOSS_UNIT)}"
        chains += [
            "  chain loses {",
            f'    type filter hook ingress device "{_CARD}" priority 0; policy accept;',
            f"    meta mark {{ {_SENT:#x}, {_FROM_CABLE:#x} }} {lost} drop",
            "  }",
        ]
    return "\n".join([*chains, "}", ""])


def require(link: Link) -> None:
    """Raise BadInputError or ClusterError where this machine lacks what `link` needs; tried in a namespace of its own."""
    if not link.shared:
        return
    packages.require(*_TOOLS)
    apart = ["unshare", "--net"]
    script = f"ip link add {AIR} type veth peer name {_CARD} && nft -f -"
    run([*apart, "sh", "-c", script], stdin=rules([(AIR, 1)], link.loss), remedy=network.REMEDY)
    if link.latency:
        try:
            run([*apart, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
        except ClusterError as error:
            raise ClusterError(
                "this kernel has no netem, without which a link has neither latency nor jitter",
                f"run `modprobe sch_netem`, or leave them out: --link {replace(link, latency=0.0, jitter=0.0).text}",
            ) from error


def make(cluster: str, stations: Sequence[VirtualNode], link: Link, text: str) -> None:
    """Lead what the stations send and receive over one medium, marked `text` once it is finished.

    Their cables must be there, and no medium.
    """
    switch = switch_namespace(cluster)
    network.batch(switch, air_commands())
    network.batch(switch, queue_commands(link, [station.index for station in stations]), "tc")
    # led away before the switch sees who sent it, so it has to be told
    known = [f"fdb replace {station.mac} dev {station.name} master static" for station in stations]
    network.batch(switch, known, "bridge")
    _load(switch, rules([(station.name, station.index) for station in stations], link.loss))
    network.mark(switch, AIR, text)


def limit_messages(cluster: str, link: Link) -> None:
    """Have nodes and controller hand over few frames in one piece; one where frames get lost, since a piece is lost as one."""
    _set_frames(cluster, 1 if link.loss else _TURN_FRAMES)


def remove(cluster: str) -> None:
    """Remove the medium of a cluster that has one; its cables stay."""
    switch = switch_namespace(cluster)
    _set_frames(cluster, _FREE_FRAMES)
    _load(switch, _no_rules())
    network.batch(switch, [f"link delete {AIR}"])


def _class(base: int, number: int) -> str:
    return f"1:{base + number:x}"


def _led(mark: int, base: int, number: int) -> str:
    return f'meta mark set {mark:#x} meta priority set {_class(base, number)} fwd to "{AIR}"'


def _no_rules() -> str:
    return f"table {_TABLE}\ndelete table {_TABLE}\n"


def _load(switch: str, text: str) -> None:
    command = ["nsenter", f"--net={namespace.NAMESPACES / switch}", "nft", "-f", "-"]
    run(command, stdin=text, remedy=network.REMEDY)


def _set_frames(cluster: str, frames: int) -> None:
    for end in network.namespaces_of(cluster):
        if end != switch_namespace(cluster) and network.NODE_INTERFACE in network.interfaces(end):
            network.batch(end, [f"link set dev {network.NODE_INTERFACE} gso_max_segs {frames}"])
