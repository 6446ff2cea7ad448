"""The agent's safety nets: nothing of a rank outlives it, whatever the rank, its keeper or the harness do."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import files, processes
from agent.connection import RefusedError
from agent.follow import Followed
from agent.health import probe
from agent.ranks import forget, living, make_room, stop
from agent_bench import Bench
from contract import wire

TOKEN = f"nets-{os.getpid()}"
MARKS = {wire.TRIAL_TOKEN: TOKEN, wire.NODE: "a"}
# Prints its number, leaves its session and its parents, and is deaf to SIGTERM.
DAEMON = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo daemon; while :; do sleep 0.2; done' & sleep 60"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    stop({**made.base, "attempt": None, "token": TOKEN})
    assert processes.marked_processes(MARKS) == []


def begin(bench: Bench, script: str, **values: Any) -> None:
    rank = {"name": "worker0", "command": ["sh", "-c", script], "environment": MARKS}
    bench.start(ranks=[rank], **values)


def wait_for(look: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def ours() -> list[int]:
    return processes.marked_processes(MARKS)


def said(bench: Bench) -> str:
    try:
        return (bench.directory / "output").read_text()
    except OSError:
        return ""


def test_what_left_the_session_ends_with_the_rank(bench: Bench) -> None:
    begin(bench, "setsid sh -c 'trap \"\" TERM; echo daemon; while :; do sleep 0.2; done' & sleep 0.5; exit 3")
    assert bench.exit_state()["code"] == 3
    assert ours() == []


def test_a_killed_keeper_leaves_nothing_even_if_nobody_asks(bench: Bench) -> None:
    begin(bench, DAEMON)
    wait_for(lambda: "daemon" in said(bench))
    os.kill(bench.wait_for_keeper(), signal.SIGKILL)
    wait_for(lambda: not ours())


def test_a_killed_keepers_processes_are_seen_and_stopped_when_asked(bench: Bench) -> None:
    begin(bench, DAEMON)
    wait_for(lambda: "daemon" in said(bench))
    os.kill(bench.wait_for_keeper(), signal.SIGKILL)
    assert living([bench.directory / "spec.json"])
    assert probe(bench.base)["running"] == ["R/t/worker0"]
    answer = stop({**bench.base, "attempt": "1"})
    assert answer == {"stopped": ["R/t/worker0"], "left": []}
    assert ours() == []


def test_a_stopped_keeper_ends_its_rank_soon_after_the_lease(bench: Bench) -> None:
    begin(bench, "echo here; sleep 60", lease_seconds=1.0)
    wait_for(lambda: "here" in said(bench))
    keeper = bench.wait_for_keeper()
    os.kill(keeper, signal.SIGSTOP)
    wait_for(lambda: not ours() and processes.start_ticks(keeper) is None, 20)


def test_a_chain_of_forks_is_ended(bench: Bench) -> None:
    chain = (
        "import os, time\nend = time.monotonic() + 30\nwhile time.monotonic() < end:\n    if os.fork(): os._exit(0)\n"
    )
    (bench.root / "chain.py").write_text(chain)
    chains = f"for n in 1 2 3; do {sys.executable} -S {bench.root}/chain.py & done; sleep 1; exit 5"
    begin(bench, chains)
    assert bench.exit_state(30)["code"] == 5
    assert ours() == []


def test_a_rank_that_removes_its_directory_is_ended(bench: Bench) -> None:
    begin(bench, "echo gone; rm -rf $PWD; sleep 60")
    state = bench.exit_state()
    assert (state["reason"], state["message"]) == ("lost", "its directory was removed")
    wait_for(lambda: not ours(), 5)
    followed = Followed(bench.directory, 0)
    told = followed._exit_state()
    assert told is not None
    assert told["message"] == "its directory was removed"


def test_a_stop_finds_the_processes_of_a_removed_directory(bench: Bench) -> None:
    begin(bench, "sleep 60")
    keeper = bench.wait_for_keeper()
    wait_for(ours)
    os.kill(keeper, signal.SIGSTOP)  # it cannot see that its directory is gone
    shutil.rmtree(bench.directory)
    assert ours()
    assert stop({**bench.base, "attempt": "1", "token": TOKEN})["left"] == []
    assert ours() == []
    os.kill(keeper, signal.SIGKILL)


def test_orphans_that_end_are_reaped_while_the_rank_runs(bench: Bench) -> None:
    begin(bench, "for n in 1 2 3 4 5; do (sleep 0.1 &) ; done; sleep 4; exit 0")
    keeper = bench.wait_for_keeper()
    time.sleep(2.5)
    states = [processes.stat_fields(pid)[0] for pid in processes.descendants(keeper)]
    assert states
    assert "Z" not in states


def test_a_rank_that_prints_too_much_is_ended_and_its_log_says_so(bench: Bench) -> None:
    begin(bench, "yes flood", output_limit_bytes=8 << 20)
    state = bench.exit_state()
    assert (state["reason"], state["message"]) == ("output_limit", "it had printed more than 8 MiB")
    tail = (bench.directory / "output").read_bytes()[-200_000_000:]
    assert b"harness: this rank is ended: it had printed more than 8 MiB" in tail


def test_a_run_that_lost_its_hold_starts_nothing(bench: Bench) -> None:
    (bench.root / "held").mkdir()
    import fcntl

    with (bench.root / "held" / "a.json").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"run": "S", "harness": "other@there, process 2"}')
        file.flush()
        with pytest.raises(RefusedError, match="is held by run"):
            bench.start("true")
    bench.start("true")
    assert bench.exit_state()["code"] == 0


def test_a_rank_deaf_to_every_polite_word_is_killed(bench: Bench) -> None:
    begin(bench, DAEMON)
    wait_for(lambda: "daemon" in said(bench))
    answer = bench.ask("stop", {**bench.base, "attempt": "1"})
    assert answer == {"stopped": ["R/t/worker0"], "left": []}
    assert ours() == []


def test_the_lease_is_what_a_follower_renews_and_nothing_else(bench: Bench) -> None:
    """Renewed in time it keeps a rank for many times its length; not renewed it ends one within its length and a stop."""
    begin(bench, "sleep 60", lease_seconds=1.5)
    lease = bench.directory.parent / files.LEASE
    for _ in range(16):
        time.sleep(0.25)
        os.utime(lease)
    assert not (bench.directory / "exit.json").exists()
    began = time.monotonic()
    assert bench.exit_state()["reason"] == "lease"
    assert 0.4 < time.monotonic() - began < 6


def test_what_goes_while_it_is_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stays", "goes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").touch()
    scandir = os.scandir

    def slow(directory: Any) -> Any:
        if str(directory).endswith("/goes"):
            shutil.rmtree(directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", slow)
    assert files.matching(tmp_path, "*/*.json") == [tmp_path / "stays/spec.json"]
    assert files.file_bytes([tmp_path / "stays/spec.json", tmp_path / "goes/spec.json"]) == 0


def test_a_trial_that_its_follower_removes_meanwhile_is_no_fault(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start("true")
    bench.exit_state()
    really = shutil.rmtree

    def beaten(path: Path, *arguments: Any, **options: Any) -> None:
        really(path)
        really(path, *arguments, **options)  # what the second of two finds

    monkeypatch.setattr(shutil, "rmtree", beaten)
    make_room({**bench.request(["true"]), "trial": "next", "attempt": "2"})
    assert not bench.directory.parent.exists()


def test_what_collected_an_earlier_start_leaves_a_later_one_alone(bench: Bench) -> None:
    bench.start("true")
    bench.exit_state()
    late = bench.request(["true"], attempt="1")
    bench.start("true", attempt="2")
    bench.exit_state()
    forget(late)
    assert (bench.directory / "exit.json").exists()
    forget({**late, "attempt": "2"})
    assert not bench.directory.parent.exists()
