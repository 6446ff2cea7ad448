"""What a sweep does with trials that fail."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from launch_parts import CLUSTER, SENT, trial
from rich.console import Console

from harness.contract.events import Event
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.launch.checkpoints import Keeping
from harness.launch.launcher import Failure, Observer, Outcome
from harness.launch.placement import Placement
from harness.results.redaction import HIDDEN
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.sweep.options import Policy
from harness.sweep.progress import Progress
from harness.sweep.run_trials import Sweep


class Launches:
    """Stands for the launcher: trials fail on these nodes."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.placed: list[list[str]] = []

    def run(self, placement: Placement, observer: Observer, **_: object) -> Outcome:
        names = [node.name for node in placement.nodes]
        self.placed.append(names)
        observer.output(placement.ranks[0], b"said\n")
        outcome = Outcome("ok", datetime.now(UTC), total_seconds=1.0)
        for name in names:
            if name in self.broken:
                outcome.status, outcome.failure = "failed", Failure("worker0", name, "exited with status 1", ("said",))
        return outcome


class Complaining(Launches):
    """Every trial fails with words of the program's own, and says numbers that are none."""

    def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
        outcome = super().run(placement, observer, **options)
        outcome.status = "failed"
        outcome.failure = Failure("worker0", "a", "no file [/data] \udcff" + "x" * 200_000)
        return outcome


def sweep(
    tmp_path: Path, launches: Launches, policy: Policy, *sizes: int, unfit: str = ""
) -> tuple[Sweep, list[dict[str, str]]]:
    trials = [replace(trial(size), environment={"API_TOKEN": "hush", "BOUND": "1"}) for size in sizes]
    store = RunDirectory(RunPaths(tmp_path), [])
    with Progress(Console(file=io.StringIO()), trials) as progress:
        made = Sweep(CLUSTER, launches, store, progress, SENT, policy, frozenset(unfit.split()))  # type: ignore[arg-type]
        made.run(trials)
    store.close()
    return made, list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))


def test_a_node_that_fails_twice_is_left_out_and_the_rows_tell(tmp_path: Path) -> None:
    launches = Launches("a")
    made, rows = sweep(tmp_path, launches, Policy(retries=2), 2, 1)
    assert launches.placed == [["a", "b"], ["a", "b"], ["b", "c"], ["b"]]
    assert made.quarantined == {"a"}
    assert [(row["trial"], row["status"], row["attempts"], row["left_out"]) for row in rows] == [
        ("n02-r1", "ok", "3", "a"),
        ("n01-r1", "ok", "1", "a"),
    ]
    record = json.loads((tmp_path / "trials" / "n02-r1" / "trial.json").read_text())
    assert [failure["node"] for failure in record["earlier_failures"]] == ["a", "a"]
    assert record["environment"] == {"API_TOKEN": HIDDEN, "BOUND": "1"}
    assert (tmp_path / "trials" / "n02-r1" / "attempt2" / "scheduler0.log").read_text() == "said\n"


class Recovering(Launches):
    """Worker 1's process ends in epoch 2, so often; every epoch leaves a checkpoint."""

    def __init__(self, failures: int, *, ended: bool = True) -> None:
        super().__init__()
        self.failures = failures
        self.ended = ended
        self.began_after: list[int] = []

    def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
        outcome = super().run(placement, observer)
        keeping = options["keeping"]
        assert isinstance(keeping, Keeping)
        finished = keeping.begin.epoch if keeping.begin else 0
        self.began_after.append(finished)
        workers = placement.with_role("worker")
        last = 2 if self.failures else 3
        for epoch in range(finished + 1, last + 1):
            for number, worker in enumerate(workers):
                observer.event(worker, Event("epoch", {"rank": number, "epoch": epoch, "train_seconds": 1.0}))
            if epoch < last:
                data = b"weights %d" % epoch
                said = {
                    "rank": 0,
                    "epoch": epoch,
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "shared": True,
                    "bytes": 9,
                }
                observer.event(workers[0], Event("checkpoint", said))
                keeping.take(workers[0], data)
        if self.failures:
            self.failures -= 1
            failure = Failure("worker1", "b", "was killed by SIGKILL", (), self.ended)
            outcome.status, outcome.failure = "failed", failure
        return outcome


def test_a_dead_worker_is_recovered_in_place_from_the_last_epoch(tmp_path: Path) -> None:
    launches = Recovering(failures=2)
    made, rows = sweep(tmp_path, launches, Policy(recover_workers=2), 2)
    assert launches.placed == [["a", "b"]] * 3
    assert launches.began_after == [0, 1, 1]
    assert made.quarantined == frozenset()
    assert [rows[0][key] for key in ("status", "attempts", "recovered", "continued_from_epoch")] == [
        "ok",
        "1",
        "2",
        "1",
    ]
    assert rows[0]["train_seconds"] == "3"
    epochs = list(csv.DictReader((tmp_path / "epochs.csv").read_text().splitlines()))
    assert [(row["epoch"], row["rank"]) for row in epochs] == [(e, r) for e in "123" for r in "01"]
    record = json.loads((tmp_path / "trials" / "n02-r1" / "trial.json").read_text())
    assert [failure["rank"] for failure in record["earlier_failures"]] == ["worker1", "worker1"]
    assert (tmp_path / "trials" / "n02-r1" / "recovery2" / "scheduler0.log").read_text() == "said\n"
    assert not (tmp_path / "trials" / "n02-r1" / "checkpoint").exists()


def test_recoveries_are_used_up_and_a_lost_node_is_not_recovered(tmp_path: Path) -> None:
    _, rows = sweep(tmp_path, Recovering(failures=3), Policy(recover_workers=2), 2)
    assert (rows[0]["status"], rows[0]["recovered"]) == ("failed", "2")
    (tmp_path / "lost").mkdir()
    launches = Recovering(failures=1, ended=False)
    _, rows = sweep(tmp_path / "lost", launches, Policy(recover_workers=2, retries=1, go_on=True), 2)
    assert launches.began_after == [0, 1]
    assert [rows[0][key] for key in ("status", "attempts", "recovered", "continued_from_epoch")] == [
        "ok",
        "2",
        "0",
        "1",
    ]


def test_whatever_a_program_says_is_shown_and_kept(tmp_path: Path) -> None:
    _, rows = sweep(tmp_path, Complaining(), Policy(), 2, 1)
    assert [row["failure"][:36] for row in rows] == ["worker0 on a: no file [/data] ?xxxxx"] * 2
    RunDirectory(RunPaths(tmp_path), []).close()  # and can be read again


def test_an_attempt_after_a_recovery_is_shown_as_an_attempt(tmp_path: Path) -> None:
    launches, shown = Recovering(failures=2), io.StringIO()
    store = RunDirectory(RunPaths(tmp_path), [])
    with Progress(Console(file=shown, width=200), [trial(2)]) as progress:
        Sweep(CLUSTER, launches, store, progress, SENT, Policy(retries=1, recover_workers=1)).run([trial(2)])  # type: ignore[arg-type]
    store.close()
    assert launches.began_after == [0, 1, 0]
    assert [line for line in shown.getvalue().splitlines() if "again" in line] == [
        "n02-r1: started again in place (recovery 1), goes on after epoch 1",
        "n02-r1: trying again (attempt 2)",
    ]


def test_too_few_healthy_nodes_are_used_all_the_same(tmp_path: Path) -> None:
    launches = Launches("a")
    _, rows = sweep(tmp_path, launches, Policy(retries=2), 2, unfit="c")
    assert launches.placed == [["a", "b"]] * 3
    assert (rows[0]["status"], rows[0]["left_out"]) == ("failed", "")


@pytest.mark.parametrize(("fail_fast", "count"), [(True, 1), (False, 2)])
def test_fail_fast_and_keep_going(tmp_path: Path, fail_fast: bool, count: int) -> None:
    _, rows = sweep(tmp_path, Launches("a"), Policy(fail_fast=fail_fast), 1, 2)
    assert [row["status"] for row in rows] == ["failed"] * count
    assert rows[0]["failure"] == "worker0 on a: exited with status 1"


def test_the_token_reaches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sweep.run_trials.secrets.token_hex", lambda _: "t0p-s3cret")
    sweep(tmp_path, Launches("a"), Policy(), 2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not any(b"t0p-s3cret" in path.read_bytes() for path in files)


@pytest.mark.parametrize("program", ["missing.py", "../pyproject.toml", "/etc/passwd"])
def test_programs_outside_the_experiments_are_refused(tmp_path: Path, program: str) -> None:
    with pytest.raises(BadInputError, match="is not in"):
        find_program(program, tmp_path)


class Contradicting(Launches):
    """Two workers of 500 images an epoch each; what they say beside is `more`, by worker."""

    def __init__(self, **more: list[dict[str, float]]) -> None:
        super().__init__()
        self.more = more

    def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
        outcome = super().run(placement, observer)
        for worker in placement.with_role("worker"):
            said = [{"rank": worker.number, "epoch": epoch} for epoch in (1, 2)]
            for values in said + self.more.get(worker.name, []):
                observer.event(worker, Event("epoch", {"train_seconds": 1.0, "images": 500, **values}))
        return outcome


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"worker1": [{"rank": 1, "epoch": 2}]}, "worker1 printed an epoch twice; the first counts"),
        ({"worker1": [{"rank": 1, "epoch": 1}] * 3}, "worker1 printed an epoch twice; the first counts"),
        (
            {"worker1": [{"rank": 0, "epoch": 3}]},
            "worker1 printed an epoch as rank 0, which worker0 is; it is not counted",
        ),
        (
            {"worker0": [{"rank": 7, "epoch": 3}]},
            "worker0 printed epochs as rank 0 and 7; the first rank counts",
        ),
    ],
)
def test_an_epoch_counts_once_for_every_worker(
    tmp_path: Path, more: dict[str, list[dict[str, float]]], warning: str
) -> None:
    _, rows = sweep(tmp_path, Contradicting(**more), Policy(), 2)
    assert (rows[0]["status"], rows[0]["images"], rows[0]["images_per_train_second"]) == ("suspect", "2000", "1000.0")
    record = json.loads((tmp_path / "trials" / "n02-r1" / "trial.json").read_text())
    assert record["warnings"] == [warning]
    epochs = list(csv.DictReader((tmp_path / "epochs.csv").read_text().splitlines()))
    assert sorted((row["rank"], row["epoch"]) for row in epochs) == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]


def test_workers_whose_ranks_are_not_their_places_are_no_contradiction(tmp_path: Path) -> None:
    class Exchanged(Launches):
        """ps-lite gives ranks in the order of arrival."""

        def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
            outcome = super().run(placement, observer)
            for worker in placement.with_role("worker"):
                observer.event(
                    worker, Event("epoch", {"rank": 1 - worker.number, "epoch": 1, "train_seconds": 1.0, "images": 500})
                )
            return outcome

    _, rows = sweep(tmp_path, Exchanged(), Policy(), 2)
    assert (rows[0]["status"], rows[0]["images"]) == ("ok", "1000")


def test_a_contradiction_before_a_recovery_is_kept(tmp_path: Path) -> None:
    class Twice(Recovering):
        def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
            outcome = super().run(placement, observer, **options)
            if self.failures == 0 and len(self.began_after) == 1:
                observer.event(
                    placement.with_role("worker")[0], Event("epoch", {"rank": 0, "epoch": 2, "train_seconds": 1.0})
                )
            return outcome

    _, rows = sweep(tmp_path, Twice(failures=1), Policy(recover_workers=1), 2)
    assert (rows[0]["status"], rows[0]["recovered"]) == ("suspect", "1")
