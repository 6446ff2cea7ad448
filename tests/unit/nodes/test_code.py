"""The code on a node is what was sent, or it is sent again."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import command, receive

from harness.contract import wire
from harness.errors import NodeError
from harness.launch.code import packaged_code
from harness.nodes.agent import Code, ask
from harness.nodes.inventory import Cluster, Node
from harness.nodes.local import LocalTransport
from harness.nodes.session import Session
from harness.paths import EXPERIMENTS


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node("a", "127.0.0.1", local=True, root=str(tmp_path / "node"), supervisor="process", python=sys.executable)


@pytest.fixture
def code() -> Code:
    return packaged_code()


def place_of(node: Node, code: Code) -> Path:
    return Path(node.root, "code", code.hash)


def enter(node: Node, code: Code) -> dict[str, Any]:
    with Session(Cluster(Path(node.root), "local", (node,))) as session:
        return code.enter(session, node)


def emptied(place: Path) -> None:
    (place / "agent" / "ranks.py").chmod(0o644)
    (place / "agent" / "ranks.py").write_text("")


def one_byte_changed(place: Path) -> None:
    path = place / "programs" / "train.py"
    path.chmod(0o644)
    found = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + b" \n")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def removed(place: Path) -> None:
    (place / "agent" / "__main__.py").unlink()


def one_too_many(place: Path) -> None:
    (place / "json.py").write_text("raise SystemExit('a module that hides the standard library')")


def a_link(place: Path) -> None:
    removed(place)
    (place / "agent" / "__main__.py").symlink_to(EXPERIMENTS / "agent" / "__main__.py")


def list_torn(place: Path) -> None:
    (place / wire.CODE_LIST).chmod(0o644)
    (place / wire.CODE_LIST).write_text("{")


def list_changed(place: Path) -> None:
    path = place / wire.CODE_LIST
    path.chmod(0o644)
    path.write_text(path.read_text() + " ")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (emptied, "agent/ranks.py"),
        (one_byte_changed, "programs/train.py"),
        (removed, "agent/__main__.py"),
        (one_too_many, "json.py"),
        (a_link, "agent/__main__.py"),
        (list_torn, wire.CODE_LIST),
        (list_changed, wire.CODE_LIST),
    ],
)
def test_code_that_is_not_as_it_was_sent_is_named_and_sent_again(
    node: Node, code: Code, damage: Callable[[Path], None], named: str
) -> None:
    assert enter(node, code)["wrong_code"] == []
    damage(place_of(node, code))
    answer = enter(node, code)
    assert answer["wrong_code"] == [named]
    assert answer["hostname"]  # and the agent answered
    assert enter(node, code)["wrong_code"] == []
    assert receive.differences(place_of(node, code), wire.CODE_LIST) == []
    assert [path.name for path in place_of(node, code).parent.iterdir()] == [code.hash]


def test_the_code_is_protected_and_its_bytecode_is_there(node: Node, code: Code) -> None:
    code.send(LocalTransport(node))
    place = place_of(node, code)
    for path in filter(Path.is_file, place.rglob("*")):
        assert path.stat().st_mode & 0o222 == 0, path
    assert list(place.glob("agent/__pycache__/ranks.*.pyc"))
    assert list(place.glob("training/__pycache__/*.pyc"))
    assert place.parent.stat().st_mode & 0o077 == 0


def cache_torn(place: Path) -> None:
    cache = next(place.glob("agent/__pycache__/ranks.*.pyc"))
    cache.chmod(0o644)
    cache.write_bytes(cache.read_bytes()[:40])  # a header that is right, and nothing behind it


def caches_torn(place: Path) -> None:
    (place / receive.CACHES).chmod(0o644)
    (place / receive.CACHES).write_text("[")


@pytest.mark.parametrize(("damage", "named"), [(cache_torn, "ranks."), (caches_torn, receive.CACHES)])
def test_torn_bytecode_is_replaced(node: Node, code: Code, damage: Callable[[Path], None], named: str) -> None:
    code.send(LocalTransport(node))
    damage(place_of(node, code))
    assert named in enter(node, code)["wrong_code"][0]
    assert enter(node, code)["wrong_code"] == []


def test_bytecode_that_came_later_is_removed(node: Node, code: Code) -> None:
    code.send(LocalTransport(node))
    later = place_of(node, code) / "agent" / "__pycache__" / "ranks.cpython-399.pyc"
    later.write_bytes(b"torn")
    assert enter(node, code)["wrong_code"] == []
    assert not later.exists()


def test_agents_of_one_machine_repair_its_code_once(node: Node, code: Code) -> None:
    code.send(LocalTransport(node))
    emptied(place_of(node, code))
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(enter(node, code))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 6
    assert sum(bool(answer["wrong_code"]) for answer in answers) == 1
    assert receive.differences(place_of(node, code), wire.CODE_LIST) == []


@pytest.mark.parametrize("sent", [b"", b"100", b"100\n", b"100\nshort"])
def test_a_harness_that_goes_away_while_it_sends_changes_nothing(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = io.BytesIO(sent)
    monkeypatch.setattr(receive, "read_some", rest.read)
    receive.receive(tmp_path / "name", wire.CODE_LIST)
    assert list(tmp_path.iterdir()) == []


def test_code_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = Code({"a.py": b"1", "below/b.py": b"2"})
    steps: list[str] = []
    sent = io.BytesIO(f"{len(code.archive)}\n".encode() + code.archive)
    monkeypatch.setattr(receive, "read_some", sent.read)
    rename = Path.rename

    def recorded(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(receive, "sync", lambda path: steps.append(path.name.partition(".new")[0]))
    monkeypatch.setattr(Path, "rename", recorded)
    receive.receive(tmp_path / code.hash, wire.CODE_LIST)
    assert set(steps[:-2]) == {"a.py", "b.py", "below", wire.CODE_LIST, code.hash}
    assert steps[-2:] == ["rename", tmp_path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("place", ["code", ""])
def test_a_directory_of_another_user_is_refused(node: Node, code: Code, place: str) -> None:
    Path(node.root, "code").mkdir(parents=True)
    os.chown(Path(node.root, place), 12345, -1)
    with pytest.raises(NodeError, match="belongs to user 12345"):
        code.send(LocalTransport(node))


def test_what_ranks_work_with_is_a_copy_that_they_may_change(node: Node, tmp_path: Path) -> None:
    code = Code({"run.sh": b"#!/bin/sh\n", "below/x": b"1"})
    code.send(LocalTransport(node))
    for _ in range(2):  # the second time over what is there
        answer = command.copy_code({"root": node.root, "source": code.hash, "target": str(tmp_path / "work")})
        assert answer == {"target": str(tmp_path / "work")}
    assert sorted(str(path.relative_to(tmp_path / "work")) for path in (tmp_path / "work").rglob("*")) == [
        "below",
        "below/x",
        "run.sh",
    ]
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "work").rglob("*"))
    assert (tmp_path / "work" / "run.sh").stat().st_mode & 0o100


def test_clean_removes_protected_code_and_the_copies_of_jobs(node: Node, code: Code) -> None:
    other = Code({"old.py": b"x"})
    for each in (code, other):
        each.send(LocalTransport(node))
    (Path(node.root) / wire.JOBS_DIRECTORY / "R" / "a").mkdir(parents=True)
    ask(LocalTransport(node), code.hash, wire.CLEAN, keep_code=code.hash)
    assert [path.name for path in Path(node.root, "code").iterdir()] == [code.hash]
    assert not (Path(node.root) / wire.JOBS_DIRECTORY).exists()
