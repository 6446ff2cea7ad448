"""What others must know of the nodes: their host keys in files of known_hosts, and DHCP reservations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.images.nodes.card_node import CardNode
from harness.system.files import write_whole


def known_hosts_line(node: CardNode, public_key: str) -> str:
    """The node's line of known_hosts: its address and name, and the first two words of its public key."""
    kind, key = public_key.split()[:2]
    return f"{node.address},{node.name} {kind} {key}"


def merge_known_hosts(existing: str, lines: Sequence[str]) -> str:
    """`existing` with all lines about the same hosts replaced by `lines`; comments and other hosts stay."""
    ours = {name for line in lines for name in line.split()[0].split(",")}
    kept = [line for line in existing.splitlines() if not ours & set((line.split() or [""])[0].split(","))]
    return "\n".join([*kept, *lines]) + "\n"


def pin(file: Path, lines: Sequence[str]) -> bool:
    """Pin host keys in a file of known_hosts, made where missing; return whether it changed."""
    existing = file.read_text(encoding="utf-8") if file.is_file() else ""
    return write_whole(file, merge_known_hosts(existing, lines).encode())


def dhcp_reservations(nodes: Sequence[CardNode]) -> str:
    """The nodes that ask for their address, as dnsmasq's `dhcp-host` lines; most routers take the same three values."""
    return "".join(f"dhcp-host={node.mac},{node.address},{node.name}\n" for node in nodes if node.dhcp)
