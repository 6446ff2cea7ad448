"""Boards that cannot come up in the emulator are told as such, and leave nothing behind."""

import subprocess
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest

from harness.images import card
from harness.system.commands import find

pytestmark = [
    *cards.need_tools,
    pytest.mark.skipif(find("qemu-system-aarch64") is None, reason="needs qemu-system-aarch64"),
]


def emulate(tmp_path: Path, image: Path, boot_seconds: float) -> tuple[int, dict[str, Any], str]:
    given = {"node": cards.NODE, "image": str(image), "machine": "raspi3b", "directory": str(tmp_path / "verify")}
    given |= {"output": str(tmp_path), "private_key": "/nowhere", "known_hosts": "pi01 ssh-ed25519 AAAA", "keep": False}
    return cards.step("emulate", {**given, "boot_seconds": boot_seconds})


def test_a_card_without_a_kernel_is_not_booted(tmp_path: Path) -> None:
    image = cards.make_rpios(tmp_path / "made", cards.BOOKWORM, {"cmdline.txt": cards.CMDLINE})
    code, _, said = emulate(tmp_path, image, 5)
    assert code == 2
    assert "the boot partition has none of kernel8.img" in said
    assert not (tmp_path / "verify/card.img").exists()


def test_a_board_that_does_not_come_up_is_told_within_its_limit_and_stopped(tmp_path: Path) -> None:
    boot = {"cmdline.txt": cards.CMDLINE, "kernel8.img": "\0" * 4096}
    dtb = subprocess.run(
        ["qemu-system-aarch64", "-nodefaults", "-nographic", "-M", f"virt,dumpdtb={tmp_path / 'dtb'}"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert dtb.returncode == 0, dtb.stderr
    image = cards.make_rpios(tmp_path / "made", cards.BOOKWORM, boot)
    card.fat_write(card.open_card(image), {"bcm2710-rpi-3-b.dtb": (tmp_path / "dtb").read_bytes()})
    code, _, said = emulate(tmp_path, image, 4)
    assert code == 4
    assert "nothing was printed" in said
    assert "console.log" in said
    assert not (tmp_path / "verify/qemu.json").exists()
    assert not (tmp_path / "verify/card.img").exists()
