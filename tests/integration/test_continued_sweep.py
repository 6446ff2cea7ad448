"""A trial that was killed and goes on from a checkpoint ends where one that ran through does: real sweeps, real MXNet."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from training_job import runtime_python

from harness.paths import EXPERIMENTS, REPOSITORY

pytestmark = [pytest.mark.mxnet, pytest.mark.slow]

EPOCHS = 30
WORKERS = 2
ROWS_BEFORE = 4 * WORKERS  # of epochs.csv when the kill comes
LIMIT_SECONDS = 240
SLOWLY = ("--set", "batch_size=4", "--set", "epochs=10")


@dataclass(frozen=True)
class Ended:
    """What a sweep of one trial left."""

    row: dict[str, str]
    epochs: list[tuple[int, int]]
    weights: set[str]
    """Digests that workers ended with."""


class Bench:
    """Two nodes of this machine that nobody else uses, and sweeps of one trial on them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        root = directory / "node"
        root.mkdir()
        (root / "runtime").symlink_to(Path(runtime_python()).parents[1])
        self.inventory = directory / "hosts.yml"
        hosts = {f"c-{n}": {"ansible_host": f"127.0.13.{n}"} for n in range(1, WORKERS + 1)}
        variables = {
            "cluster_kind": "local",
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "node_root": str(root),
            "node_supervisor": "process",
            "node_shared_machine": True,
        }
        self.inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")

    def start(self, results: str, store: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable, "-m", "harness", "sweep", str(EXPERIMENTS / "quickstart.yaml"), "-i", str(self.inventory),
                "-o", str(self.directory / results), "-n", str(WORKERS), "--set", f"epochs={EPOCHS}",
                "--set", f"kvstore={store}", *options,
            ],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def end(self, process: subprocess.Popen[str], results: str) -> Ended:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, output
        run = self.run_of(results)
        (row,) = read(run / "trials.csv")
        said = [json.loads(line) for path in run.glob("trials/*/events.jsonl") for line in path.open()]
        epochs = [(int(row["rank"]), int(row["epoch"])) for row in read(run / "epochs.csv")]
        return Ended(row, epochs, {event["weights_sha256"] for event in said if event["event"] == "done"})

    def run_of(self, results: str) -> Path:
        return (self.directory / results / "quickstart" / "latest").resolve()

    def wait_until_trained(self, results: str, rows: int) -> None:
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end:
            path = self.run_of(results) / "epochs.csv"
            if path.exists() and len(path.read_text().splitlines()) > rows:
                return
            time.sleep(0.05)
        raise AssertionError("no epochs")

    def worker(self, number: int) -> int:
        """The process of a worker."""
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                environment = (directory / "environ").read_bytes().split(b"\0")
                command = (directory / "cmdline").read_bytes()
            except OSError:
                continue
            mine = os.fsencode(self.directory) in command and b"train.py" in command
            if mine and {b"HARNESS_ROLE=worker", b"HARNESS_RANK=%d" % number} <= set(environment):
                return int(directory.name)
        raise AssertionError(f"no worker {number}")


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def through(bench: Bench) -> Ended:
    ended = bench.end(bench.start("through", "dist_sync"), "through")
    assert (ended.row["continued_from_epoch"], ended.row["recovered"]) == ("", "0")
    return ended


def assert_same(ended: Ended, through: Ended) -> None:
    """Every row once, and the same bits at the end."""
    assert sorted(ended.epochs) == sorted(through.epochs)
    assert len(ended.epochs) == len(set(ended.epochs)) == WORKERS * int(through.row["epochs"])
    assert ended.weights == through.weights
    for column in ("images", "train_accuracy", "validation_accuracy", "best_validation_accuracy"):
        assert ended.row[column] == through.row[column]
    assert float(ended.row["total_seconds"]) > float(ended.row["train_seconds"]) > 0
    assert int(ended.row["continued_from_epoch"]) >= 1  # of short epochs not every checkpoint is seen


def test_after_a_worker_was_killed(bench: Bench, through: Ended) -> None:
    process = bench.start("worker", "dist_sync", "--continue", "--retries", "1")
    bench.wait_until_trained("worker", ROWS_BEFORE)
    os.kill(bench.worker(1), signal.SIGKILL)
    ended = bench.end(process, "worker")
    assert_same(ended, through)
    assert (ended.row["attempts"], ended.row["recovered"]) == ("2", "0")


def test_after_the_harness_was_killed(bench: Bench, through: Ended) -> None:
    process = bench.start("harness", "dist_sync", "--continue")
    bench.wait_until_trained("harness", ROWS_BEFORE)
    process.kill()
    process.communicate()
    again = bench.start("harness", "dist_sync", "--continue", "--resume", str(bench.run_of("harness")))
    ended = bench.end(again, "harness")
    assert_same(ended, through)
    assert ended.row["attempts"] == "2"
    assert not list(bench.run_of("harness").glob("trials/*/checkpoint"))


def test_after_workers_were_killed_and_started_again_in_place(bench: Bench, through: Ended) -> None:
    process = bench.start("place", "dist_sync", "--recover-workers", "2")
    for number in range(2):
        bench.wait_until_trained("place", (number + 1) * ROWS_BEFORE)
        os.kill(bench.worker(number), signal.SIGKILL)
        if number == 0:
            wait_for_recovery(bench.run_of("place"))
    ended = bench.end(process, "place")
    assert_same(ended, through)
    assert (ended.row["attempts"], ended.row["recovered"]) == ("1", "2")


def wait_for_recovery(run: Path) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not list(run.glob("trials/*/recovery1")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_where_another_worker_takes_the_dead_ones_place(bench: Bench) -> None:
    process = bench.start("replaced", "dist_async", "--recover-workers", "1")
    bench.wait_until_trained("replaced", ROWS_BEFORE)
    os.kill(bench.worker(0), signal.SIGKILL)
    ended = bench.end(process, "replaced")
    assert sorted(ended.epochs) == [(rank, epoch) for rank in range(WORKERS) for epoch in range(1, EPOCHS + 1)]
    assert (ended.row["attempts"], ended.row["recovered"], ended.row["continued_from_epoch"]) == ("1", "1", "")
    assert float(ended.row["validation_accuracy"]) > 0.85


def test_where_every_worker_has_weights_of_its_own(bench: Bench) -> None:
    # Small batches make long epochs: all workers' files of one epoch must be seen before the next one replaces them.
    alone = bench.end(bench.start("alone", "none", *SLOWLY), "alone")
    assert len(alone.weights) == WORKERS
    process = bench.start("alone-again", "none", "--recover-workers", "1", *SLOWLY)
    bench.wait_until_trained("alone-again", ROWS_BEFORE)
    os.kill(bench.worker(0), signal.SIGKILL)
    assert_same(bench.end(process, "alone-again"), alone)
