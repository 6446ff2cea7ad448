"""Workers that come late or die every time, drivers that raise and lost schedulers: each trial on Dask has a clear end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from dask_nodes import Nodes, nothing_is_left, pids, ranks, running, wait_until

FAULTY = """\
import os
import signal

from sklearn.ensemble import RandomForestClassifier


class Deadly(RandomForestClassifier):
    def fit(self, *arguments, **more):
        if os.environ["HARNESS_ROLE"] == "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(*arguments, **more)


class Unfit(RandomForestClassifier):
    def score(self, *arguments, **more):
        raise RuntimeError("the driver's own fault")
"""
TREES = 2500


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, dask_root: Path) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("ends"), dask_root)


@pytest.fixture
def faulty(tmp_path: Path) -> str:
    """The option that lets ranks find FAULTY's estimators."""
    (tmp_path / "faulty.py").write_text(FAULTY, encoding="utf-8")
    return f"--env PYTHONPATH={tmp_path}"


def test_a_node_that_comes_late_takes_work_and_telemetry_has_the_tasks(nodes: Nodes) -> None:
    options = "--env DASK_HARNESS__WORKERS=1 --telemetry 0.5"  # the driver waits for one
    process = nodes.start("late", "forest.py", 2, options, trees=TREES, via="batches")
    paused: list[int] = []
    try:
        wait_until(lambda: 1 in ranks(nodes, "worker"), "worker1 was not started")
        paused = [ranks(nodes, "worker")[1]]
        os.kill(paused[0], signal.SIGSTOP)
        wait_until(lambda: '"progress"' in nodes.log("late", "driver0"), "the driver did not begin with one worker")
        assert '"ready"' not in nodes.log("late", "worker1")
        # The other is paused, so that something is left, however slowly the late one starts.
        others = pids(nodes, "worker", 0)
        paused += others
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        os.kill(paused[0], signal.SIGCONT)
        wait_until(lambda: '"ready"' in nodes.log("late", "worker1"), "worker1 did not come")
        for pid in others:
            os.kill(pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            for pid in paused:
                os.kill(pid, signal.SIGCONT)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0, said
    trees = {row["rank"]: int(row["images"]) for row in nodes.rows("late", "epochs") if row["rank"] != "0"}
    assert set(trees) == {"1", "2"}
    assert trees["2"] > 0, "the late node took no work"
    assert sum(trees.values()) == TREES
    samples = nodes.rows("late", "telemetry")
    for node in ("d-1", "d-2"):
        told = [row for row in samples if row["node"] == node and row["tasks_done"]]
        done = [int(row["tasks_done"]) for row in told]
        assert done == sorted(done)
        assert done[-1] > 0
        assert int(told[-1]["task_bytes_sent"]) > 5_000  # a few trees
    assert max(int(row["tasks_in_flight"] or 0) for row in samples) > 0
    assert nothing_is_left(nodes)


def test_workers_that_die_every_time_end_the_trial_as_often_as_it_is_tried(nodes: Nodes, faulty: str) -> None:
    began = time.monotonic()
    code, said = nodes.sweep(
        "deadly", "forest.py", 2, f"{faulty} --retries 1", trees=50, via="batches", estimator="faulty.Deadly"
    )
    assert code == 1, said
    (row,) = nodes.rows("deadly")
    assert (row["status"], row["attempts"]) == ("failed", "2")
    assert "PoolLostError: one of its processes was killed" in row["failure"]
    ended = [each for each in nodes.rows("deadly", "ranks") if each["role"] == "worker"]
    assert {each["exit_code"] for each in ended} == {"1"}
    assert time.monotonic() - began < 100, "it was waited for workers that do not come again"
    assert nothing_is_left(nodes)


def test_the_last_lines_of_a_driver_that_raises_are_shown(nodes: Nodes, faulty: str) -> None:
    code, said = nodes.sweep("unfit", "forest.py", 1, faulty, trees=10, via="batches", estimator="faulty.Unfit")
    assert code == 1
    assert "driver0 on d-1: exited with status 1: RuntimeError: the driver's own fault" in said
    assert "    | RuntimeError: the driver's own fault" in said
    (record,) = nodes.directory.glob("results/unfit/latest/trials/*/trial.json")
    lines = json.loads(record.read_text(encoding="utf-8"))["failure"]["last_lines"]
    assert any("faulty.py" in line for line in lines), lines
    assert nothing_is_left(nodes)


def test_a_lost_scheduler_ends_the_trial(nodes: Nodes) -> None:
    with running(nodes, "headless", "forest.py", 1, trees=1_000_000, via="batches") as wait:
        os.kill(ranks(nodes, "scheduler")[0], signal.SIGKILL)
        began = time.monotonic()
        code, said = wait()
    assert code == 1
    assert "scheduler0 on d-1: was killed by SIGKILL" in said
    assert time.monotonic() - began < 90, "the others waited for the scheduler"
    assert nothing_is_left(nodes)
