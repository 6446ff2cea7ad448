"""What a user types after `harness launch`, and what the ranks get."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_parts import CLUSTER, NODES
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import BadInputError
from harness.launch.job import make_job, read_environment, read_hostfile
from harness.results.logs import follow_log
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths

RUNTIMES = {"a": True, "b": False, "c": True}


def test_the_program_is_found_at_its_place_on_every_node(tmp_path: Path) -> None:
    script = tmp_path / "my train.py"
    script.write_text("")
    job = make_job(["python", str(script), "--lr", "0.1; rm", "--data", str(script)], 3, None, ["A=b c=d"])
    placement = job.placed(NODES, 9091, "t", dict.fromkeys("abc", "/code/x"), RUNTIMES)
    commands = {rank.node.name: rank.command for rank in placement.with_role("worker")}
    assert commands["a"] == (
        "/nowhere/runtime/bin/python",
        "/code/x/my train.py",
        "--lr",
        "0.1; rm",
        "--data",
        str(script),
    )
    assert commands["b"][0] == "/usr/bin/python3"
    assert {role: len(placement.with_role(role)) for role in ("scheduler", "server", "worker")} == {
        "scheduler": 1,
        "server": 3,
        "worker": 3,
    }  # type: ignore[arg-type]
    environment = placement.with_role("worker")[2].environment
    assert (environment["A"], environment["DMLC_ROLE"], environment["DMLC_NUM_WORKER"]) == ("b c=d", "worker", "3")


def test_more_workers_than_nodes_share_them() -> None:
    placement = make_job(["true"], 5, 1, []).placed(NODES, 9091, "t", {}, RUNTIMES)
    assert [rank.node.name for rank in placement.with_role("worker")] == ["a", "b", "c", "a", "b"]


def test_modules_and_commands_are_left_as_they_are() -> None:
    for command in (["python", "-m", "pkg"], ["python3", "-c", "print(1)"], ["hostname", "-f"]):
        job = make_job(command, 1, 0, [])
        assert job.script is None
        assert job.placed(NODES[1:2], 1, "t", {}, RUNTIMES).ranks[0].command[1:] == tuple(command[1:])


def test_bad_input() -> None:
    with pytest.raises(BadInputError, match="no command"):
        make_job([], 1, 1, [])
    with pytest.raises(BadInputError, match="is no file"):
        make_job(["python", "/no/such.py"], 1, 1, [])
    for text in ("A", "1A=2", "=x", "a-b=c"):
        with pytest.raises(BadInputError, match="NAME=VALUE"):
            read_environment([text])


def test_environment_as_both_launchers_write_it() -> None:
    assert read_environment(["A=1", "B:2", "C=x:y", "D="]) == {"A": "1", "B": "2", "C": "x:y", "D": ""}


def test_a_directory_that_is_too_large_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.launch.code.LARGEST_CODE_BYTES", 10)
    (tmp_path / "p.py").write_text("x" * 11)
    with pytest.raises(BadInputError, match="would be sent to every node"):
        make_job(["python", str(tmp_path / "p.py")], 1, 1, []).code()


def test_a_hostfile(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# mine\n10.0.0.1\nme@10.0.0.2:2222 slots=4 # fast\n\n")
    nodes = read_hostfile(path).nodes
    assert [(node.address, node.ssh_port, node.supervisor, node.local) for node in nodes] == [
        ("10.0.0.1", 22, "process", False),
        ("10.0.0.2", 2222, "process", False),
    ]
    assert nodes[1].user == "me"
    assert all(node.root.startswith("~/") for node in nodes)  # no place that other users of a node share
    path.write_text("10.0.0.1\n10.0.0.1\n")
    with pytest.raises(BadInputError, match="twice"):
        read_hostfile(path)
    path.write_text("# none\n")
    with pytest.raises(BadInputError, match="names no host"):
        read_hostfile(path)
    with pytest.raises(BadInputError, match="cannot read"):
        read_hostfile(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"h\xf6st", "hosts:2: 'h?st' is no host"),
        (b"10.0.0.1:abc", "hosts:2: '10.0.0.1:abc' is no host"),
        (b"10.0.0.1:", "is no host"),
        (b"10.0.0.1:70000", "hosts:2: 70000 is no port"),
        (b"10.0.0.1:0", "0 is no port"),
        (b"j\xf6rg@10.0.0.1", "is no host"),
        (b"[fe80::1]:22", "is no host"),
        (b"../../etc", "is no host"),
        (b"10.1", "host 10.1 has no address: it is no IPv4 address"),
        (b"a" * 200 + b".invalid", "has no address"),
        (b"\0", "is no host"),
    ],
)
def test_what_is_no_host_is_refused_with_its_line(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"# k\xfcche, in Latin-1\n" + line + b"\n")
    with pytest.raises(BadInputError) as caught:
        read_hostfile(path)
    assert says in caught.value.message
    assert caught.value.remedy


def test_a_comment_in_another_encoding_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"# k\xfcche\n10.0.0.1 # \xe4\n")
    assert [node.address for node in read_hostfile(path).nodes] == ["10.0.0.1"]


def test_the_verbs_are_there() -> None:
    for verb in ("launch", "status", "logs", "clean"):
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0
    assert CLUSTER.nodes == NODES


def test_logs_are_followed_to_their_end(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    store = RunDirectory(paths, [])
    store.begin("t")
    store.log("t", "worker0", b"one\n")
    pauses = 0

    def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        store.log("t", "worker0", b"more\n")
        if pauses == 3:
            store.finish("t", {"trial": "t", "status": "ok", "started_at": "2026"}, {})

    assert b"".join(follow_log(paths, None, "worker0", follow=True, pause=pause)) == b"one\nmore\nmore\nmore\n"
    store.close()
    assert b"".join(follow_log(paths, "t", "worker0", follow=False, pause=pause)).startswith(b"one")
    with pytest.raises(BadInputError, match="no log of worker9"):
        list(follow_log(paths, "t", "worker9", follow=False, pause=pause))
    with pytest.raises(BadInputError, match="has no trial x"):
        list(follow_log(paths, "x", "worker0", follow=False, pause=pause))
