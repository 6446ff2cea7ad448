"""What the playbooks that take care of nodes refuse, and what a backup holds; on this machine, without root."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playbooks import Played, play
from role_plugins import load_plugin

from harness.launch.code import packaged_code
from harness.launch.hold import Hold, this_harness
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.paths import ANSIBLE, REPOSITORY

NODE = "local-1"
PLAN = load_plugin("upgrade/filter_plugins/apt_plan.py")


def care(playbook: str, root: Path, *arguments: str) -> Played:
    """A playbook on one node of this machine."""
    inventory = REPOSITORY / "inventory" / "local"
    return play(playbook, inventory, "--limit", NODE, "-e", f"node_root={root}", *arguments)


def said_by(played: Played) -> str:
    return " ".join(played.output.split())


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """The root of a node that run `lenet-42` holds."""
    root = tmp_path / "harness"
    node = Node(NODE, "127.0.0.1", local=True, root=str(root), supervisor="process", python=sys.executable)
    code = packaged_code()
    with Session(Cluster(tmp_path, "local", (node,))) as session:
        code.send(session.to(node))
        with Hold(session, (node,), code.hash, "lenet-42"):
            yield root


def test_held_node_is_left_alone_and_its_holder_named(held: Path) -> None:
    confirmed = ("-e", "reset_confirmed=true")
    played = care("reset.yml", held, *confirmed)
    assert played.returncode != 0, played.output
    assert f"{NODE} is held by run lenet-42 ({this_harness()}). Nothing was done to it" in said_by(played)
    assert played.total("changed") == 0
    assert (held / "code").is_dir()
    assert care("reset.yml", held, *confirmed, "-e", "node_hold_ignored=true").returncode == 0
    assert not held.exists()


@pytest.mark.parametrize("playbook", ["reboot", "poweroff", "upgrade", "backup"])
def test_every_playbook_asks_for_all_nodes_first_and_for_each_again(playbook: str) -> None:
    plays = yaml.safe_load((ANSIBLE / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))
    asked = [
        task["ansible.builtin.import_role"] for play in plays for task in [*play.get("pre_tasks", []), *play.get("tasks", [])]
        if "ansible.builtin.import_role" in task
    ]  # fmt: skip
    assert asked.count({"name": "node", "tasks_from": "unheld"}) == len(plays) == 2
    own = {"name": "node", "tasks_from": "not_controller"}
    assert (own in asked) == (playbook != "backup")
    assert [play["max_fail_percentage"] for play in plays] == [0, 0]
    assert plays[1]["serial"] == 1


def test_controller_does_not_power_itself_off(tmp_path: Path) -> None:
    played = care("poweroff.yml", tmp_path)
    assert played.returncode != 0, played.output
    assert f"{NODE} is the machine that this runs on" in said_by(played)
    assert played.output.count("PLAY [") == 1


def test_packages_of_a_shared_machine_are_left_alone(tmp_path: Path) -> None:
    played = care("upgrade.yml", tmp_path)
    assert played.returncode != 0, played.output
    assert "one of several nodes on this machine" in said_by(played)
    assert played.output.count("PLAY [") == 1


def test_backup_has_what_only_the_node_has_and_no_secret(tmp_path: Path) -> None:
    root, kept = tmp_path / "harness", tmp_path / "kept"
    rank = root / "trials" / "r-1" / "t" / NODE / "worker0"
    for path in (
        *(rank / name for name in ("output", "checkpoint.npz", "spec.json")), root / "jobs" / "r-2" / NODE / "model.bin",
        root / "runtime" / "runtime.json", root / "runtime" / "bin" / "python", root / "data" / "mnist" / "dataset.json",
        root / "data" / "mnist" / "images", tmp_path / "notes.txt",
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    where = ("-e", f"backup_directory={kept}", "-e", f'{{"backup_files": ["{tmp_path}/notes.txt", "/no/such/file"]}}')
    rehearsed = care("backup.yml", root, *where, "--check")
    assert rehearsed.returncode == 0, rehearsed.output
    assert f"{NODE}: 6 files" in rehearsed.output
    assert not kept.exists()
    played = care("backup.yml", root, *where)
    assert played.returncode == 0, played.output
    assert kept.stat().st_mode & 0o077 == 0
    (file,) = kept.glob(f"{NODE}-*Z.tar.gz")  # named by the time, so that none is written over
    with tarfile.open(file) as archive:
        names = {Path("/", name) for name in archive.getnames()}
        content = archive.extractfile("packages.txt")
        assert content is not None
        assert b"bash " in content.read()
    assert names == {
        Path("/packages.txt"), rank / "output", rank / "checkpoint.npz", root / "jobs" / "r-2" / NODE / "model.bin",
        root / "runtime" / "runtime.json", root / "data" / "mnist" / "dataset.json", tmp_path / "notes.txt",
    }  # fmt: skip


SIMULATED = """\
Reading package lists...
The following packages have been kept back:
  kept-one kept-two
  kept-three
The following packages will be REMOVED:
  old
1 upgraded, 2 newly installed, 1 to remove and 3 not upgraded.
Remv old [1.0]
Inst libc6 [2.36-9] (2.36-10 Debian:12.5/stable [arm64]) [libc-bin:arm64 ]
Inst linux-image-6.12-rpi (6.12.3 Raspberry Pi Foundation:stable [arm64])
Inst raspi-firmware [1:1.2024] (1:1.2025 Raspberry Pi Foundation:stable [arm64])
Conf libc6 (2.36-10 Debian:12.5/stable [arm64])
"""


def test_plan_of_an_upgrade_tells_versions_and_what_needs_a_boot() -> None:
    assert PLAN.apt_plan(SIMULATED) == {
        "changes": [
            "old 1.0: removed", "libc6 2.36-9 -> 2.36-10", "linux-image-6.12-rpi 6.12.3: new",
            "raspi-firmware 1:1.2024 -> 1:1.2025",
        ],
        "kept_back": ["kept-one", "kept-two", "kept-three"],
        "booted": ["linux-image-6.12-rpi", "raspi-firmware"],
    }  # fmt: skip
    assert PLAN.apt_plan("0 upgraded, 0 newly installed") == {"changes": [], "kept_back": [], "booted": []}
