"""An emulated node as a process: started on a copy of its image, found again by its record, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError, ImageError
from harness.images.card import open_card
from harness.images.emulation.board import MACHINES, card_bytes, command, extract_boot
from harness.images.host import MAKE_IMAGES, clone, require_space
from harness.images.nodes.card_node import CardNode
from harness.system.files import whole
from harness.system.packages import require


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Guest:
    """A running emulation: its process, SSH port and files."""

    pid: int
    port: int
    directory: Path
    console: Path


def start(image: Path, node: CardNode, machine: str, directory: Path) -> Guest:
    """Start QEMU on a grown copy of the image; everything it leaves is in `directory`."""
    if machine not in MACHINES:
        raise BadInputError(f"{machine!r} is no machine to emulate", f"one of {', '.join(MACHINES)}")
    require("qemu-system-aarch64", "mcopy", "sfdisk")
    if not image.is_file():
        raise BadInputError(f"{image}: no such image", MAKE_IMAGES)
    stop(directory)
    directory.mkdir(parents=True, exist_ok=True)
    require_space(directory, image.stat().st_blocks * 512 * 2, f"a copy of {image.name}")
    boot = extract_boot(open_card(image), directory)
    copy = directory / "card.img"
    with whole(copy) as temporary:
        clone(image, temporary)
        os.truncate(temporary, card_bytes(image.stat().st_size))
    port, console = free_port(), directory / "console.log"
    console.unlink(missing_ok=True)
    with (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            command(machine, boot, copy, node, port, console),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    guest = Guest(process.pid, port, directory, console)
    state = {"pid": process.pid, "started": _started(process.pid), "port": port}
    (directory / "qemu.json").write_text(json.dumps(state), encoding="utf-8")
    time.sleep(1)
    if process.poll() is not None:
        said = (directory / "qemu.log").read_text(errors="replace").strip()
        stop(directory)
        raise ImageError(f"QEMU ended at once: {said}", f"read {directory / 'qemu.log'}")
    return guest


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks: with the number it names one process for ever. Empty: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _reap(pid: int) -> None:
    """Collect our own child, so that an ended one does not look alive."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def alive(directory: Path) -> bool:
    """Whether the QEMU that was started for `directory` still runs."""
    path = directory / "qemu.json"
    if not path.is_file():
        return False
    state = json.loads(path.read_text(encoding="utf-8"))
    _reap(int(state["pid"]))
    return bool(state["started"]) and _started(int(state["pid"])) == state["started"]


def stop(directory: Path, limit_seconds: float = 10) -> bool:
    """Stop the QEMU of `directory` and remove its card; True where it ran. Its logs stay."""
    running = alive(directory)
    if running:
        pid = int(json.loads((directory / "qemu.json").read_text(encoding="utf-8"))["pid"])
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + limit_seconds
        while alive(directory) and time.monotonic() < deadline:
            time.sleep(0.1)
        if alive(directory):
            os.kill(pid, signal.SIGKILL)
    for name in ("qemu.json", "card.img"):
        (directory / name).unlink(missing_ok=True)
    return running
