"""From nothing to a booted Pi 3: the base is built or taken from the cache, images are made, an emulated board boots one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import image_cards as cards
import pytest
import training_job

from harness.images import card, host
from harness.images.base.binfmt import runs_foreign_binaries
from harness.system.commands import find

LIMIT_SECONDS = 3600
TOOLS = (
    "mmdebstrap",
    "arch-test",
    "fakeroot",
    "qemu-system-aarch64",
    "qemu-aarch64-static",
    "mcopy",
    "sfdisk",
    "mkfs.vfat",
    "debugfs",
)
MISSING = [tool for tool in TOOLS if find(tool) is None]
pytestmark = [
    pytest.mark.emulated,
    pytest.mark.image,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_SECONDS),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not runs_foreign_binaries(), reason="binfmt_misc does not run arm64 programs here"),
]
HOSTS = """
nodes:
  hosts:
    pi01: {ansible_host: 10.42.0.11}
    pi02: {ansible_host: 10.42.0.12, image_node_serial_console: false}
  vars: {ansible_user: pi, image_node_gateway: 10.42.0.1, image_base_bake: [runtime]}
"""


PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}


@pytest.fixture(scope="module", params=PYTHONS)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, suite: str) -> Path:
    """The directory that the playbook leaves after making two images and booting the first of them as a Pi 3."""
    directory = tmp_path_factory.mktemp(suite)
    inventory = directory / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(HOSTS)
    output = directory / "images"
    done = play(inventory, output, suite, image_verify_by="boot")
    assert done.returncode == 0, done.stdout + done.stderr + console(output)
    return output


def play(inventory: Path, output: Path, suite: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, "ansible/playbooks/image.yml"),
            *("-e", json.dumps({"image_tools_output": str(output), "image_base_suite": suite, **variables})),
        ],
        cwd=cards.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
    )


def console(output: Path) -> str:
    path = output / "verify/pi01/console.log"
    return path.read_text(errors="replace")[-4000:] if path.is_file() else ""


def test_the_emulated_board_boots_to_ssh_with_its_pinned_key(output: Path) -> None:
    figures = json.loads((output / "figures.json").read_text())
    assert figures["raspi3b_ssh_seconds"] > 0
    assert set(figures["node_seconds"]) == {"pi01", "pi02"}
    assert re.search(r"Linux version .*arm64", console_all(output))


def console_all(output: Path) -> str:
    return (output / "verify/pi01/console.log").read_text(errors="replace")


def test_the_emulation_leaves_no_process_and_no_card(output: Path) -> None:
    assert not (output / "verify/pi01/qemu.json").exists()
    assert not (output / "verify/pi01/card.img").exists()


def test_no_two_cards_share_a_host_key(output: Path) -> None:
    keys = [line.split()[2] for line in (output / "known_hosts").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == 2


def test_the_card_holds_the_release_that_was_asked_for(output: Path, suite: str) -> None:
    release = card.ext_read(card.open_card(output / "pi01.img"), "/usr/lib/os-release") or b""
    assert f"VERSION_CODENAME={suite}\n" in release.decode()


def test_the_card_carries_no_identity_but_its_own(output: Path) -> None:
    for name in ("pi01", "pi02"):
        opened = card.open_card(output / f"{name}.img")
        assert card.ext_read(opened, "/etc/machine-id") == b""
        listed = host.run(["debugfs", "-R", "ls -p /etc/ssh", opened.ext4], limit_seconds=60).decode()
        assert sorted(re.findall(r"/([^/]*_key(?:\.pub)?)/", listed)) == [
            "harness_host_ed25519_key",
            "harness_host_ed25519_key.pub",
        ]
        serial = b"console=ttyS1,115200" in (card.fat_read(opened, "cmdline.txt") or b"")
        assert serial == (name == "pi01")
        host.run(["e2fsck", "-fn", opened.ext4], limit_seconds=60)


def test_a_second_run_is_quick_and_changes_nothing(output: Path, suite: str) -> None:
    done = play(output.parent / "inventory", output, suite, image_verify_by="none")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("changed=0") == 2, done.stdout
    assert json.loads((output / "figures.json").read_text())["base_cached_seconds"] < 10


# Bits of AT_HWCAP (Linux, arch/arm64/include/uapi/asm/hwcap.h) that a Pi 3 has not: atomics, sve, paca.
EXTENSIONS = 1 << 8 | 1 << 22 | 1 << 30
CAPABILITIES = "import ctypes; print(ctypes.CDLL(None).getauxval(16))"
TRAIN = ("--dataset=digits", "--kvstore=none", "--epochs=1", "--limit=256", "--no-validation")


def losses(lines: list[str]) -> list[float]:
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event["train_loss"] for event in events if event["event"] == "epoch"]


@pytest.mark.mxnet
def test_the_cards_own_mxnet_trains_to_the_same_loss_as_this_machines(output: Path, suite: str, tmp_path: Path) -> None:
    runtime = "/opt/harness/runtime"
    python = f"{runtime}/bin/python"
    given = {
        "image": str(output / "pi01.img"),
        "directory": str(tmp_path),
        "output": str(tmp_path),
        "limit_seconds": 900,
        "binds": {"/mnt": str(cards.REPOSITORY / "experiments")},
        "commands": [
            [python, f"{runtime}/verify.py", "any"],
            ["/usr/bin/cat", f"{runtime}/runtime.json"],
            [python, "/mnt/programs/train.py", *TRAIN],
            [python, "-c", CAPABILITIES],
        ],
    }
    code, result, said = cards.step("run-arm64", given, limit_seconds=2000)
    assert code == 0, said
    state = json.loads(result["stdout"][1])
    assert (state["architecture"], state["python"].rpartition(".")[0]) == ("aarch64", PYTHONS[suite])
    assert int(result["stdout"][3]) & EXTENSIONS == 0
    assert state["kvstore_implementations"] == ["native"], "PyPI's wheel has no distributed store, and ours is baked in"
    assert {"dist_sync", "dist_async"} <= set(state["stores"])
    (here,) = training_job.run(1, 0, TRAIN, tmp_path)
    expected = [event["train_loss"] for event in here if event["event"] == "epoch"]
    assert losses(result["stdout"][2].splitlines()) == pytest.approx(expected, abs=1e-3)
