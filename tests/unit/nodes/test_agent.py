"""The agent on a node: what it starts ends, whatever happens to those who asked for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import files, processes
from agent.follow import Followed
from agent.keeper import ExitState, reserve
from agent.ranks import stop, unit_name
from agent_bench import AGENT, Bench

from harness.errors import NodeError
from harness.nodes.agent import Code
from harness.nodes.inventory import Node
from harness.nodes.local import LocalTransport

HOSTILE = ["a b", "$(touch pwned)", ";ls", "'", '"', "`id`", "*", "-n", "", "new\nline", "\\", "é", "&& false"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    stop({**made.base, "attempt": None})


def test_arguments_arrive_as_they_are(bench: Bench) -> None:
    bench.start(sys.executable, "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *HOSTILE)
    assert bench.exit_state()["code"] == 0
    assert json.loads((bench.directory / "output").read_text()) == HOSTILE


def test_a_program_that_is_not_there(bench: Bench) -> None:
    bench.start("/no/such/program")
    state = bench.exit_state()
    assert (state["reason"], "No such file" in state["message"]) == ("start", True)


def test_exit_state_and_signals(bench: Bench) -> None:
    bench.start("sh", "-c", "exit 7")
    assert bench.exit_state()["code"] == 7
    bench.start("sh", "-c", "kill -SEGV $$")
    assert bench.exit_state()["signal"] == signal.SIGSEGV


BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_the_cost_of_a_rank_counts_all_it_started(bench: Bench) -> None:
    held = "x = b'x' * 100_000_000; " + BUSY.replace("import time\n", "import time;\n")
    bench.start("sh", "-c", f'{sys.executable} -c "$1" & {sys.executable} -c "$1"; wait', "sh", held)
    state = bench.exit_state()
    assert 0.6 <= state["cpu_seconds"] < 5
    assert 100_000_000 < state["max_rss_bytes"] < 200_000_000
    assert state["context_switches"] > 0
    assert state["ran_seconds"] >= 0.3


def test_the_cost_of_a_rank_that_was_stopped_is_known(bench: Bench) -> None:
    bench.start(sys.executable, "-c", BUSY + "open('busy', 'w').close(); time.sleep(60)")
    bench.wait_for_keeper()
    end = time.monotonic() + 15
    while not (bench.directory / "busy").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert bench.ask("stop", {**bench.base, "attempt": "1"})["left"] == []
    state = bench.exit_state()
    assert state["reason"] == "stopped"
    assert state["cpu_seconds"] >= 0.3


def test_the_token_is_for_the_user_alone(bench: Bench) -> None:
    bench.start("sleep", "30")
    keeper = bench.wait_for_keeper()
    assert (bench.directory / "spec.json").stat().st_mode & 0o077 == 0
    for pid in [keeper, *processes.descendants(keeper)]:
        assert b"hush" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_stop_ends_children_that_do_not_listen(bench: Bench) -> None:
    bench.start("sh", "-c", "trap '' TERM; (trap '' TERM; sleep 60)& sleep 60")
    bench.wait_for_keeper()
    answer = bench.ask("stop", {**bench.base, "attempt": "1"})
    assert answer == {"stopped": ["R/t/worker0"], "left": []}
    assert processes.left_processes(bench.directory) == []


def test_stop_asks_the_children_of_a_rank_too(bench: Bench) -> None:
    child = "trap 'echo asked > asked; exit' TERM; touch ready; while :; do sleep 0.1; done"
    bench.start("sh", "-c", f"({child}) & wait")
    while not (bench.directory / "ready").exists():
        time.sleep(0.05)
    stop(bench.base)
    assert (bench.directory / "asked").exists()


def test_stop_ends_a_stopped_rank_and_a_stopped_keeper(bench: Bench) -> None:
    bench.start("sleep", "60")
    keeper = bench.wait_for_keeper()
    for pid in [*processes.descendants(keeper), keeper]:
        os.kill(pid, signal.SIGSTOP)
    assert bench.ask("stop", {**bench.base, "attempt": "1"})["left"] == []
    assert processes.left_processes(bench.directory) == []


def test_stop_ends_what_a_killed_keeper_left(bench: Bench) -> None:
    bench.start("sh", "-c", "sleep 60 & sleep 60")
    keeper = bench.wait_for_keeper()
    deadline = time.monotonic() + 10
    while len(processes.descendants(keeper)) < 3 and time.monotonic() < deadline:  # the shell and both of its sleeps
        time.sleep(0.05)
    os.kill(keeper, signal.SIGKILL)
    time.sleep(0.3)
    assert processes.left_processes(bench.directory)  # the grandchild: only the rank itself dies with its keeper
    assert bench.ask("stop", {**bench.base, "attempt": "1"})["left"] == []
    assert processes.left_processes(bench.directory) == []


def test_a_start_that_comes_after_its_stop_starts_nothing(bench: Bench) -> None:
    stop({**bench.base, "attempt": "1"})
    bench.start("sleep", "60")
    state = bench.exit_state()
    assert (state["reason"], state["message"]) == ("stopped", "before it started")
    bench.start("true", attempt="2")
    assert bench.exit_state()["code"] == 0


def test_the_lease_ends_a_rank_without_a_harness(bench: Bench) -> None:
    began = time.monotonic()
    bench.start("sleep", "60", lease_seconds=1.0)
    assert bench.exit_state()["reason"] == "lease"
    assert time.monotonic() - began < 8


def test_a_full_disk_does_not_swallow_the_exit_state(tmp_path: Path) -> None:
    reserve(tmp_path)
    state = ExitState(tmp_path)
    before = (tmp_path / ".exit.json").stat()
    state.write("exit", 1, message="m" * 9999)
    after = (tmp_path / "exit.json").stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
    assert files.read_json(tmp_path / "exit.json")["code"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs, which needs root")
@pytest.mark.parametrize("pages", range(5))
def test_a_rank_that_a_full_disk_keeps_from_starting_says_so(bench: Bench, pages: int) -> None:
    trials = bench.root / "trials"
    trials.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", trials], check=True)
    try:
        (trials / "full").write_bytes(bytes((16 - pages) * 4096))
        try:
            bench.start("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do head -c 4096 /dev/zero || exit 1; done")
        except OSError as error:
            said = str(error)
        else:
            state = bench.exit_state()
            said = state["message"] if state["reason"] == "start" else "No space left" if state["code"] else str(state)
        assert "No space left" in said
    finally:
        stop({**bench.base, "attempt": None})
        subprocess.run(["umount", "--lazy", trials], check=True)


def test_another_run_is_refused_while_ranks_live(bench: Bench) -> None:
    bench.start("sleep", "60")
    bench.wait_for_keeper()
    answer = bench.ask("run", bench.request(["true"], run="S"))
    assert answer == {"frame": "error", "error": "the node is held by run R"}


def test_the_same_run_takes_the_place_of_what_it_left(bench: Bench) -> None:
    bench.start("sleep", "60")
    keeper = bench.wait_for_keeper()
    bench.start("true", trial="u", attempt="2")
    assert processes.start_ticks(keeper) is None
    assert not bench.directory.exists()


def test_a_reboot_is_told_from_a_crash(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start("sleep", "60")
    os.kill(bench.wait_for_keeper(), signal.SIGKILL)
    time.sleep(0.2)
    followed = Followed(bench.directory, 0)
    assert followed._exit_state()["reason"] == "lost"
    assert followed._exit_state()["message"] == "its keeper ended without a word"
    files.write_json(bench.directory / "keeper.json", {"pid": 1, "start_ticks": "1", "boot_id": "another"})
    assert followed._exit_state()["message"] == "its node was rebooted"


@contextlib.contextmanager
def streaming(verb: str, request: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(AGENT), verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        yield process
        process.stdin.close()
        process.wait(10)


def frames(process: subprocess.Popen[bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
    assert process.stdout is not None
    while line := process.stdout.readline():
        frame = json.loads(line)
        yield frame, process.stdout.read(frame.get("bytes", 0))


def test_output_is_followed_from_any_byte_and_forgotten_when_all_is_collected(bench: Bench) -> None:
    request = bench.request(["sh", "-c", "echo one; echo two; sleep 0.5; echo three"])
    with streaming("run", request) as process:
        got = b""
        for frame, payload in frames(process):
            got += payload
            if frame["frame"] == "exit":
                assert 0 <= frame["seconds_ago"] < 5
                break
        assert got == b"one\ntwo\nthree\n"
    with streaming("follow", {**request, "offsets": {"worker0": 4}}) as process:
        got = b""
        for frame, payload in frames(process):
            got += payload
            if frame["frame"] == "exit":
                break
        assert got == b"two\nthree\n"
        process.stdin.write(b"q")  # type: ignore[union-attr]
    assert not bench.directory.parent.parent.exists()


def test_a_checkpoint_is_sent_whole_whenever_it_is_another_and_before_the_end(bench: Bench) -> None:
    script = (
        "cat resume.npz; for n in 1 2; do echo $n > .new; mv .new checkpoint.npz; sleep 1; done; "
        "ln -sf /etc/passwd checkpoint.npz; sleep 1; rm checkpoint.npz; echo 3 > .new; mv .new checkpoint.npz"
    )
    request = bench.request(
        ["sh", "-c", script],
        checkpoint={"file": "checkpoint.npz", "ranks": ["worker0"]},
        resume={"file": "resume.npz", "bytes": {"worker0": 300_000}},
    )
    with streaming("run", request) as process:
        process.stdin.write(b"r" * 300_000)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        heard: dict[str, list[bytes]] = {}
        for frame, payload in frames(process):
            heard.setdefault(frame["frame"], []).append(payload)
            if frame["frame"] == "exit":
                break
    assert heard["checkpoint"] == [b"1\n", b"2\n", b"3\n"]
    assert b"".join(heard["output"]) == b"r" * 300_000


def test_a_request_that_is_cut_starts_nothing(bench: Bench) -> None:
    request = bench.request(["true"], resume={"file": "resume.npz", "bytes": {"worker0": 10}})
    with streaming("run", request) as process:
        process.stdin.write(b"short")  # type: ignore[union-attr]
        process.stdin.close()  # type: ignore[union-attr]
        assert [frame["frame"] for frame, _ in frames(process)] == ["error"]
    assert not bench.directory.exists()


def test_a_flood_does_not_keep_the_lease_from_renewal(bench: Bench) -> None:
    flood = "import sys\nfor _ in range(30): sys.stdout.write('x' * 10**6)"
    with streaming("run", bench.request([sys.executable, "-c", flood], lease_seconds=5.0)) as process:
        size = 0
        for frame, payload in frames(process):
            size += len(payload)
            if frame["frame"] == "exit":
                assert frame["code"] == 0
                break
            process.stdin.write(b".")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
    assert size == 30 * 10**6


def test_a_follower_whose_harness_is_silent_ends(bench: Bench) -> None:
    with streaming("run", bench.request(["sleep", "60"], lease_seconds=1.0)) as process:
        threading.Timer(8, process.kill).start()
        list(frames(process))
        assert process.wait(1) == 0


@pytest.mark.parametrize("sent", [0, 9])
def test_a_request_that_is_never_whole_starts_nothing(bench: Bench, sent: int) -> None:
    resume = {"file": "resume.npz", "bytes": {"worker0": 10}}
    with streaming("run", bench.request(["sleep", "60"], lease_seconds=1.0, resume=resume)) as process:
        threading.Timer(8, process.kill).start()
        process.stdin.write(b"x" * sent)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        said = [frame for frame, _ in frames(process)]
        assert said == [{"frame": "error", "error": "nothing came for 1 s within the request"}]
        assert process.wait(1) == 1
    assert not bench.directory.exists()


@pytest.mark.parametrize("sent", [b"", b'{"root": '])
def test_a_request_line_is_not_waited_for_without_limit(sent: bytes) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from agent import command, connection; connection.REQUEST_SECONDS = 0.5; "
        "command.main('probe')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(AGENT.parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(sent)  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        threading.Timer(8, process.kill).start()
        assert [frame["error"] for frame, _ in frames(process)] == ["nothing came for 0.5 s within the request"]


def test_a_node_is_held_by_one_harness(bench: Bench) -> None:
    hold = {**bench.base, "harness": "me@here, process 1", "lease_seconds": 20}
    with streaming("hold", hold) as process:
        assert next(frames(process))[0] == {"frame": "held"}
        answer = bench.ask("hold", {**hold, "harness": "you@there, process 2", "run": "S"})
        assert answer["frame"] == "refused"
        assert answer["holder"]["harness"] == "me@here, process 1"
        assert bench.ask("probe", bench.base)["held"]["run"] == "R"
        assert "is held by run R" in bench.ask("clean", bench.base)["error"]
        with streaming("hold", hold) as again:  # the same harness, after its connection was lost
            assert next(frames(again))[0] == {"frame": "held"}
    assert bench.ask("probe", bench.base)["held"] is None


def test_the_true_holder_is_named_and_others_cannot_lock_a_node(bench: Bench) -> None:
    hold = {**bench.base, "harness": "me@here, process 1", "lease_seconds": 20}
    with streaming("hold", hold) as process:
        assert next(frames(process))[0] == {"frame": "held"}
        assert (bench.root / "held").stat().st_mode & 0o777 == 0o700
    bench.start("true")
    bench.exit_state()
    assert (bench.root / "trials").stat().st_mode & 0o777 == 0o700
    # What the file says is of a harness that has ended; the lock is another's.
    script = (
        "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(bench.root / "held" / "a.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = f"process {other.pid} of user {os.geteuid()} there, no harness: {sys.executable}"
        assert bench.ask("probe", bench.base)["held"]["harness"].startswith(said)
        answer = bench.ask("hold", {**hold, "harness": "you@there, process 2"})
        assert answer["frame"] == "refused"
        assert answer["holder"]["harness"].startswith(said)
        other.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_worked_in(bench: Bench) -> None:
    (bench.root / "held").mkdir()
    os.chown(bench.root / "held", 12345, -1)
    answer = bench.ask("hold", {**bench.base, "harness": "me", "lease_seconds": 20})
    assert "belongs to user 12345" in answer["error"]


def test_nodes_of_one_machine_clean_up_at_the_same_time(tmp_path: Path) -> None:
    for attempt in range(20):
        shared = tmp_path / f"code{attempt}"
        for folder in range(10):
            (shared / f"{folder}").mkdir(parents=True)
            for number in range(20):
                (shared / f"{folder}" / f"{number}.py").write_text("pass\n")
        failed: list[Exception] = []

        def remove(shared: Path = shared, failed: list[Exception] = failed) -> None:
            try:
                files.remove(shared)
            except OSError as error:
                failed.append(error)

        threads = [threading.Thread(target=remove) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (failed, shared.exists()) == ([], False)


def test_clean_removes_what_runs_left(bench: Bench) -> None:
    bench.start("sh", "-c", "echo x; sleep 60")
    bench.wait_for_keeper()
    (bench.root / "code" / "old").mkdir(parents=True)
    (bench.root / "code" / "kept").mkdir()
    answer = bench.ask("clean", {**bench.base, "run": None, "trial": None, "keep_code": "kept"})
    assert answer["stopped"] == ["R/t/worker0"]
    assert sorted(path.name for path in bench.root.iterdir()) == ["code"]
    assert [path.name for path in (bench.root / "code").iterdir()] == ["kept"]


def test_long_and_odd_names_make_units(bench: Bench) -> None:
    assert unit_name("R", "n01-r1", "worker0") == "harness-R-n01-r1-worker0.service"
    assert len(unit_name("R", "x" * 300, "worker0")) < 256
    assert unit_name("R", "x" * 300, "*") == unit_name("R", "x" * 300, "worker0").replace("worker0", "*")


def test_code_is_sent_once_and_whole(tmp_path: Path) -> None:
    node = Node(
        "a", "127.0.0.1", local=True, root=str(tmp_path / "r o;o$(t)"), supervisor="process", python=sys.executable
    )
    transport = LocalTransport(node)
    code = Code({"program.py": b"print(1)", "with space/x": b"y"})
    assert code.send(transport)
    assert not code.send(transport)
    assert (Path(node.root) / "code" / code.hash / "with space" / "x").read_bytes() == b"y"


def test_a_node_without_python_is_named(tmp_path: Path) -> None:
    node = Node("a", "127.0.0.1", local=True, root=str(tmp_path), supervisor="process", python="/no/python")
    with pytest.raises(NodeError, match="a: cannot run /no/python"):
        Code({}).send(LocalTransport(node))
