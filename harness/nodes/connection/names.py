"""Words that reading an inventory inside Ansible and outside of it have in common. Pure."""

from __future__ import annotations

from typing import Final

CONNECTION: Final = "harness_connection"
"""Of a host's variables: how Ansible's ssh connection would be started."""

LOGIN: Final = "harness_login"
"""Of a host's variables: what OpenSSH made of that, a Login."""

BECOME_PASSWORD: Final = "ansible_become_password"  # noqa: S105 - a name
"""Of a host's variables: what Ansible would tell sudo there, whichever of its variables and settings says it."""

BECOME_PASSWORD_PIPE: Final = "HARNESS_BECOME_PASSWORD_PIPE"  # noqa: S105 - a name
"""In the environment: the descriptor of a pipe with a password of sudo that was typed."""

OURS: Final = ("ansible_", "cluster_", "node_")
"""How the names of variables begin that the harness reads."""

SSH_CONNECTIONS: Final = ("ssh", "smart", "paramiko", "paramiko_ssh")


def is_ssh(connection: object) -> bool:
    """Whether a value of `ansible_connection` means SSH."""
    return str(connection).removeprefix("ansible.builtin.") in SSH_CONNECTIONS
