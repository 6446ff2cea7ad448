"""SSH keys of the cluster: the user's, and each node's host key, made before the node exists. No trust on first use."""

from __future__ import annotations

from pathlib import Path

from harness.virtual.command import run
from harness.virtual.names import Node


def ensure_key(file: Path, comment: str) -> Path:
    """Make the ed25519 key `file` (0600) and `file`.pub where they are missing; return `file`."""
    public = file.with_name(file.name + ".pub")
    if not (file.is_file() and public.is_file()):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)])
    return file


def public_key(file: Path) -> str:
    """The public half of key `file`: type and key, without comment."""
    kind, key = file.with_name(file.name + ".pub").read_text(encoding="ascii").split()[:2]
    return f"{kind} {key}"


def known_hosts(nodes: list[Node], host_keys: dict[str, str]) -> str:
    """Text of the known_hosts file that pins `host_keys` (by node name). Pure."""
    return "".join(f"{node.address},{node.name} {host_keys[node.name]}\n" for node in nodes)
