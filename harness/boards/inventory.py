"""An inventory of boards as files. Pure but for the writing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from harness.boards.board import Board
from harness.boards.host_keys import HostKey
from harness.errors import BadInputError
from harness.paths import INVENTORIES

_EXAMPLE = INVENTORIES / "pi.example" / "group_vars" / "nodes.yml"
_USER = "ansible_user: pi\n"
_KEY = "# ansible_ssh_private_key_file: ~/.ssh/cluster\n"
_PINNED = "cluster_known_hosts: known_hosts\n"


def inventory_files(
    boards: Sequence[Board],
    keys: Sequence[HostKey],
    *,
    user: str,
    identity: str | None = None,
    port: int = 22,
    own: Collection[Board] = (),
) -> dict[str, str]:
    """The inventory's files, text by path: that of the example with these boards, user and keys.

    The boards in `own` are this machine, which Ansible then reaches without SSH. Without `keys`, known_hosts is empty.
    """
    variables = _EXAMPLE.read_text(encoding="utf-8").replace(_USER, f"ansible_user: {json.dumps(user)}\n")
    if identity:
        variables = variables.replace(_KEY, f"ansible_ssh_private_key_file: {json.dumps(identity)}\n")
    if port != 22:
        variables = variables.replace(_PINNED, f"ansible_port: {port}\n{_PINNED}")
    width = max(len(board.name) for board in boards)
    hosts = "".join(
        f"    {board.name}:{' ' * (width - len(board.name))} {{ansible_host: {json.dumps(board.host)}"
        f"{', ansible_connection: local' if board in own else ''}}}\n"
        for board in boards
    )
    return {
        "hosts.yml": f"---\n# The first N of these are a cluster of N nodes.\nnodes:\n  hosts:\n{hosts}",
        "group_vars/nodes.yml": variables,
        "known_hosts": "".join(f"{key.line}\n" for key in keys),
    }


def write_inventory(directory: Path, files: dict[str, str]) -> None:
    """Write all files, or none. Raises BadInputError where something is there, or the place cannot be written to."""
    refuse_taken(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise BadInputError(f"{directory} cannot be made: {error.strerror}", "name another directory") from None
    try:
        for name, text in files.items():
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.replace(directory)  # an empty directory gives way
    except OSError as error:
        raise BadInputError(f"{directory} cannot be written: {error.strerror}", "name another directory") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_taken(directory: Path) -> None:
    """Raise BadInputError where the directory has anything in it, or is none."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise BadInputError(f"{directory} is there already", "name a new directory, or change the files in it by hand")
