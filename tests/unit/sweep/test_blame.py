"""Which failures count against a node, and which end a point of the sweep."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from launch_parts import CLUSTER, SENT, trial
from rich.console import Console

from harness.launch.launcher import Failure, Observer, Outcome
from harness.launch.placement import Placement
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.sweep.options import Policy
from harness.sweep.progress import Progress
from harness.sweep.run_trials import Sweep


class Failing:
    """Every trial fails like this on node a."""

    def __init__(self, failure: Failure, stood_still: float = 0.0) -> None:
        self.failure = failure
        self.stood_still = stood_still
        self.ran: list[str] = []
        self.status: Literal["ok", "failed"] = "failed"

    def run(self, placement: Placement, observer: Observer, **_: object) -> Outcome:
        self.ran.append(placement.trial.id)
        now = datetime.now(UTC)
        failure = self.failure if self.status == "failed" else None
        return Outcome(self.status, now, failure=failure, total_seconds=1.0, stood_still_seconds=self.stood_still)


def sweep(tmp_path: Path, failing: Failing) -> tuple[Sweep, str]:
    points = [("n01-r1", 1, {}), ("n01-r2", 1, {}), ("n01-r1-x", 1, {"x": 1})]
    trials = [replace(trial(nodes), id=name, parameters=parameters) for name, nodes, parameters in points]
    said = io.StringIO()
    store = RunDirectory(RunPaths(tmp_path), [])
    with Progress(Console(file=said, width=300), trials) as progress:
        made = Sweep(CLUSTER, failing, store, progress, SENT, Policy(retries=1))  # type: ignore[arg-type]
        made.run(trials)
    store.close()
    return made, said.getvalue()


FAILURE = Failure("worker0", "a", "exited with status 1", ended=True)


def test_a_refusal_is_no_mark_against_the_node_and_ends_the_point(tmp_path: Path) -> None:
    failing = Failing(replace(FAILURE, how="exited with status 2", refused=True, against_node=False))
    made, said = sweep(tmp_path, failing)
    assert failing.ran == ["n01-r1", "n01-r1-x"]
    assert made.quarantined == frozenset()
    assert "n01-r2: not run: its program refused the same arguments in n01-r1" in said
    assert "left out" not in said


def test_a_failure_while_the_harness_stood_still_is_no_mark_against_the_node(tmp_path: Path) -> None:
    made, _ = sweep(tmp_path, Failing(FAILURE, stood_still=50.0))
    assert made.quarantined == frozenset()


def test_a_trial_during_which_the_harness_stood_still_is_suspect(tmp_path: Path) -> None:
    failing = Failing(FAILURE, stood_still=50.0)
    failing.status = "ok"
    sweep(tmp_path, failing)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert {(row["status"], row["suspect_because"]) for row in rows} == {
        ("suspect", "the harness itself stood still meanwhile")
    }


@pytest.mark.parametrize(("against", "left_out"), [(True, {"a"}), (False, set())])
def test_what_is_the_nodes_fault_counts(tmp_path: Path, against: bool, left_out: set[str]) -> None:
    made, _ = sweep(tmp_path, Failing(replace(FAILURE, against_node=against)))
    assert made.quarantined == left_out
