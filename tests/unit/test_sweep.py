"""What a sweep does with trials that fail."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from launch_parts import CLUSTER, trial
from rich.console import Console

from harness.agent import Code
from harness.errors import BadInputError
from harness.launcher import Failure, Observer, Outcome
from harness.placement import Placement
from harness.progress import Progress
from harness.store import RunPaths, RunStore
from harness.sweep import Policy, Sweep, check_programs


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


def sweep(
    tmp_path: Path, launches: Launches, policy: Policy, *sizes: int, unfit: str = ""
) -> tuple[Sweep, list[dict[str, str]]]:
    trials = [trial(size) for size in sizes]
    store = RunStore(RunPaths(tmp_path), [])
    with Progress(Console(file=io.StringIO()), trials) as progress:
        made = Sweep(CLUSTER, launches, store, progress, Code({}), policy, frozenset(unfit.split()))  # type: ignore[arg-type]
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
    assert (tmp_path / "trials" / "n02-r1" / "attempt2" / "scheduler0.log").read_text() == "said\n"


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
    monkeypatch.setattr("harness.sweep.secrets.token_hex", lambda _: "t0p-s3cret")
    sweep(tmp_path, Launches("a"), Policy(), 2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not any(b"t0p-s3cret" in path.read_bytes() for path in files)


@pytest.mark.parametrize("program", ["missing.py", "../pyproject.toml", "/etc/passwd"])
def test_programs_outside_the_experiments_are_refused(tmp_path: Path, program: str) -> None:
    with pytest.raises(BadInputError, match="is not in"):
        check_programs([program], tmp_path)
