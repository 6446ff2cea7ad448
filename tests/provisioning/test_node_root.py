"""Nothing is made over or deleted but a directory of our own; on this machine, without a runtime."""

from __future__ import annotations

import os
import pwd
from functools import partial
from pathlib import Path

import pytest
from playbooks import Played, play
from role_plugins import load_plugin

from harness.paths import REPOSITORY

LOCAL = REPOSITORY / "inventory" / "local"
MARKER = ".harness-node"
NODE_ROOT = load_plugin("node/module_utils/node_root.py")


def played_by_node(root: Path, playbook: str = "site.yml", *arguments: str) -> Played:
    """Run the part of a playbook that concerns the directory alone."""
    return play(playbook, LOCAL, "--tags", "node", "-e", f"node_root={root}", "-e", "reset_confirmed=true", *arguments)


def test_directory_is_made_marked_and_removed(tmp_path: Path) -> None:
    root = tmp_path / "harness"
    made = played_by_node(root)
    assert made.returncode == 0, made.output
    assert "reset.yml" in (root / MARKER).read_text(encoding="utf-8")
    assert played_by_node(root).total("changed") == 0
    assert played_by_node(root, "reset.yml").returncode == 0
    assert not root.exists()
    assert played_by_node(root, "reset.yml").returncode == 0


def test_directory_of_others_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    root = tmp_path / "photographs"
    root.mkdir()
    (root / "holiday.jpg").write_bytes(b"irreplaceable")
    for playbook in ("site.yml", "reset.yml"):
        played = played_by_node(root, playbook)
        said = " ".join(played.output.split())
        assert played.returncode != 0
        assert f"node_root '{root}' is not empty and carries no mark of ours" in said
        assert "Try: " in said
        assert played.total("changed") == 0
    assert [path.name for path in root.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        ["runtime/bundle.json", "notes.txt"],
        ["code/0123456789abcdef/agent/ranks.py", "trials/run/x", "held/n1.json"],
        ["data/mnist/dataset.json"],
    ],
)
def test_directory_from_before_there_was_a_mark_is_ours(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / "old" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "old" / name).touch()
    played = played_by_node(tmp_path / "old")
    assert played.returncode == 0, played.output
    assert (tmp_path / "old" / MARKER).is_file()


@pytest.mark.parametrize(
    "content", [["code/project/main.py"], ["data/mine.csv"], ["data/mnist/dataset.json", "thesis.tex"], ["trials/x"]]
)
def test_directory_that_only_looks_like_ours_is_not(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).touch()
    assert "carries no mark of ours" in " ".join(played_by_node(tmp_path / "mine").output.split())


def test_link_to_the_system_and_what_is_no_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    played = played_by_node(tmp_path / "link", "site.yml", "--check")
    assert "'/etc' is not a directory of our own: it belongs to the system" in " ".join(played.output.split())
    (tmp_path / "file").touch()
    assert "is no directory" in " ".join(played_by_node(tmp_path / "file", "site.yml", "--check").output.split())


def test_node_says_what_it_has_at_the_path(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    describe = partial(NODE_ROOT.describe_root, user=user, marker=MARKER)
    home = Path(pwd.getpwnam(user).pw_dir)
    assert [describe(str(path))["holds_home"] for path in (home, home.parent, home / "nothing", tmp_path)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert describe(str(tmp_path / "absent"))["exists"] is False
    empty = describe(str(tmp_path))
    assert (empty["owner"], empty["empty"], empty["ours"], empty["strangers"]) == (user, True, False, False)
    (tmp_path / MARKER).touch()
    marked = describe(str(tmp_path))
    assert (marked["marked"], marked["ours"], marked["empty"]) == (True, True, False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["", "trials", "trials/run"])
def test_what_belongs_to_another_user_is_seen(tmp_path: Path, place: str) -> None:
    (tmp_path / "trials" / "run").mkdir(parents=True)
    assert NODE_ROOT.describe_root(str(tmp_path), "root", MARKER)["strangers"] is False
    os.chown(tmp_path / place, 12345, 12345)
    assert NODE_ROOT.describe_root(str(tmp_path), "root", MARKER)["strangers"] is True
