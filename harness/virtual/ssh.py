"""SSH to the nodes, as `up` and `status` need it: does the server answer, and does the node say that it runs."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from pathlib import Path

from harness.system.ssh import client, greets
from harness.virtual.host.names import VirtualNode
from harness.virtual.host.rootfs import USER
from harness.virtual.state import Places

_PAUSE_SECONDS = 0.1


def arguments(places: Places, node: VirtualNode, command: list[str]) -> list[str]:
    """The ssh command that runs `command` on `node`, with strict host keys and nothing of the user's configuration."""
    return [*client(places.key, places.known_hosts, 5), f"{USER}@{node.address}", *command]


def wait_until_running(places: Places, node: VirtualNode, limit: float, given_up: threading.Event) -> str | None:
    """Wait until `node` answers and its systemd says `running`; None then, else what is wrong after `limit` seconds.

    It ends early when `given_up` is set. Call it inside the controller's namespace.
    """
    deadline = time.monotonic() + limit
    while not greets(node.address):
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
