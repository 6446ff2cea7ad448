"""SSH to an emulated node: wait for it, set its clock, read back who it is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ImageError
from harness.images.emulation.console import reached, without_card
from harness.images.emulation.guest import Guest, alive
from harness.images.host import run
from harness.images.nodes.card_node import CardNode
from harness.system.ssh import client, greets

POLL_SECONDS = 1.0


class NoCardError(ImageError):
    """QEMU's USB failed: the emulated board has no network card, and would be waited for in vain."""


def wait_for_ssh(guest: Guest, ssh: Sequence[str], limit_seconds: float) -> float:
    """Wait until the node answers with its pinned key; the seconds it took.

    Raises NoCardError where it never will, for want of a network card, and ImageError, which names how far the boot came.
    """
    begin = time.monotonic()
    while time.monotonic() - begin < limit_seconds:
        if not alive(guest.directory):
            raise ImageError(f"QEMU ended before SSH was up: {reached(guest.console)}", f"read {guest.console}")
        if greets("127.0.0.1", guest.port):
            done = subprocess.run([*ssh, "true"], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                return time.monotonic() - begin
            if "host key" in done.stderr.lower() and "verification failed" in done.stderr.lower():
                raise ImageError(
                    f"the node's host key is not the pinned one: {done.stderr.strip()}", "make the image again"
                )
        if without_card(guest.console):
            raise NoCardError("the emulated board came up without its USB network card", "QEMU's USB failed: once more")
        time.sleep(POLL_SECONDS)
    raise ImageError(
        f"no SSH within {limit_seconds:.0f} s: {reached(guest.console)}", f"read {guest.console}, or allow more time"
    )


def ssh_command(node: CardNode, port: int, key: Path, known_hosts: Path) -> list[str]:
    """An SSH client that asks nothing and trusts only the pinned key."""
    return [*client(key, known_hosts, 20, HostKeyAlias=node.name), "-p", str(port), f"{node.user}@127.0.0.1"]


def set_clock(ssh: Sequence[str]) -> None:
    """Set the guest's clock: like the board it has none of its own, and its network reaches no time server."""
    run([*ssh, "sudo", "-n", "date", "--utc", "--set", f"@{int(time.time())}"], limit_seconds=120)


def identity(ssh: Sequence[str], limit_seconds: float) -> dict[str, str]:
    """Wait for cloud-init to be done and read back who the node is."""
    script = (
        "cloud-init status --wait >/dev/null 2>&1 || true; "
        "hostname; uname -m; ip -4 -o addr show scope global; cat /sys/firmware/devicetree/base/model | tr -d '\\0'; echo; "
        "cat /run/cloud-init/result.json 2>/dev/null | tr -d '\\n'; echo; df -B1 --output=size / | tail -1; "
        "systemctl is-system-running || true; sudo -n sshd -T | grep -i '^passwordauthentication'"
    )
    said = run([*ssh, script], limit_seconds=limit_seconds).decode(errors="replace").splitlines()
    names = ("hostname", "architecture", "address", "model", "cloud_init", "root_bytes", "system", "passwords")
    return dict(zip(names, (line.strip() for line in said), strict=False))
