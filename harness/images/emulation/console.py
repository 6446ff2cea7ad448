"""How far a boot came, read from what the board printed on its console."""

from __future__ import annotations

import re
from pathlib import Path

CARD_VENDOR = "0525"  # of QEMU's USB network card


def without_card(console: Path) -> bool:
    """Whether the kernel gave the emulated USB hub up, and the boot ended without the network card behind it."""
    text = _text(console)
    ended = re.search(r"Cloud-init v\. .* finished", text)
    return bool(ended) and "attempt power cycle" in text and f"idVendor={CARD_VENDOR}" not in text


def _text(console: Path) -> str:
    return console.read_text(errors="replace") if console.is_file() else ""


def reached(console: Path) -> str:
    """How far a boot came, read from its console."""
    text = _text(console)
    stages = (
        ("the SSH server was started", r"Started .*ssh\.service|OpenBSD Secure Shell"),
        ("cloud-init ran", r"Cloud-init v\."),
        ("systemd was up", r"systemd\[1\]|Welcome to"),
        ("the root file system was mounted", r"EXT4-fs \(\S+\): mounted"),
        ("the kernel ran", r"Linux version"),
    )
    for stage, pattern in stages:
        if re.search(pattern, text):
            failed = re.findall(r"\[FAILED\] (.*)", text)
            return stage + (f"; failed: {', '.join(failed[:4])}" if failed else "")
    return "nothing was printed"
