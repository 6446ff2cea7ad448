"""SSH to the nodes, as `up` and `status` need it: is it there, and does the node say that it runs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from pathlib import Path

from harness.virtual.names import Node
from harness.virtual.rootfs import USER
from harness.virtual.state import Places

_PORT = 22
_TRY_SECONDS = 5.0
_PAUSE_SECONDS = 0.1


def answers(address: str, limit: float = _TRY_SECONDS) -> bool:
    """Whether an SSH server greets at `address` within `limit` seconds. Call it inside the controller's namespace."""
    with contextlib.suppress(OSError), socket.create_connection((address, _PORT), timeout=limit) as connection:
        connection.settimeout(limit)
        return connection.recv(4) == b"SSH-"
    return False


def arguments(places: Places, node: Node, command: list[str]) -> list[str]:
    """The ssh command that runs `command` on `node`, with strict host keys and nothing of the user's configuration."""
    options = {
        "UserKnownHostsFile": places.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 5,
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "/dev/null", "-i", str(places.key), *flags, f"{USER}@{node.address}", *command]


def wait_until_running(places: Places, node: Node, limit: float, given_up: threading.Event) -> str | None:
    """Wait until `node` answers and its systemd says `running`; None then, else what is wrong after `limit` seconds.

    It ends early when `given_up` is set. Call it inside the controller's namespace.
    """
    deadline = time.monotonic() + limit
    while not answers(node.address):
        if given_up.is_set() or time.monotonic() > deadline:
            return f"no SSH at {node.address} within {limit:.0f} s"
        time.sleep(_PAUSE_SECONDS)
    command = arguments(places, node, ["systemctl", "is-system-running", "--wait"])
    said = "nothing"
    while not given_up.is_set() and (left := deadline - time.monotonic()) > 0:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=left, check=False
            )
        except subprocess.TimeoutExpired:
            break
        said = done.stdout.strip() or done.stderr.strip()
        if said == "running":
            return None
        if done.returncode != 255:  # ssh's own failure may pass while the node boots; systemd's word is final
            break
        time.sleep(_PAUSE_SECONDS)
    return f"not running within {limit:.0f} s: {said}"


def end_masters(directory: Path) -> None:
    """End the SSH masters whose control sockets are in `directory`."""
    if not directory.is_dir():
        return
    for control in directory.iterdir():
        if control.is_socket():
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["ssh", "-F", "/dev/null", "-o", f"ControlPath={control}", "-O", "exit", "node"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=5,
                    check=False,
                )
