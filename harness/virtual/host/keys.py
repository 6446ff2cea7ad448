"""SSH keys of the cluster: the user's, and each node's host key, made before the node exists. No trust on first use."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ClusterError
from harness.system import ssh
from harness.virtual.host.names import VirtualNode


def ensure_key(file: Path, comment: str) -> Path:
    """Make the ed25519 key `file` (0600) and `file`.pub where they are missing; return `file`. Raises ClusterError."""
    return ssh.ensure_key(file, comment, ClusterError)


def public_key(file: Path) -> str:
    """The public half of key `file`: type and key, without comment."""
    kind, key = file.with_name(file.name + ".pub").read_text(encoding="ascii").split()[:2]
    return f"{kind} {key}"


def known_hosts(nodes: list[VirtualNode], host_keys: dict[str, str]) -> str:
    """Text of the known_hosts file that pins `host_keys` (by node name). Pure."""
    return "".join(f"{node.address},{node.name} {host_keys[node.name]}\n" for node in nodes)
