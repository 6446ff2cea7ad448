"""Runs side by side: what differed, the numbers with intervals and ratios, and the verb's exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report_runs import power_of, timed_run, trial, write_run
from typer.testing import CliRunner

from harness.analysis.statistics.intervals import Estimate
from harness.cli.results.compare import app, names_of
from harness.console import PlainConsole
from harness.contract.columns import COMPARISON_COLUMNS
from harness.errors import BadInputError
from harness.report.runs.differences import differences
from harness.report.runs.numbers import METRICS, Compared
from harness.report.runs.show import comparison_tables
from harness.results.run_paths import RunPaths

MANIFEST = {
    "started_at": "2031-01-01", "command": "harness sweep", "code_sha256": "aa",
    "experiment": {"name": "a", "parameters": {"kvstore": "dist_sync", "epochs": 2}},
    "cluster": {"kind": "pi", "nodes": [{"name": "pi1", "address": "10.0.0.1", "cores": 4, "machine": "aarch64"}]},
    "versions": {"harness": "0.3.0", "numpy": "1.26.0"},
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    made = json.loads(json.dumps(MANIFEST))
    at = made
    *above, last = path.split(".")
    for name in above:
        at = at[name]
    at[last] = value
    return dict(made)


@pytest.mark.parametrize(
    ("path", "value", "kind", "name", "shown"),
    [
        (
            "experiment.parameters.kvstore",
            "allreduce",
            "experiment",
            "experiment.parameters.kvstore",
            ("dist_sync", "allreduce"),
        ),
        ("code_sha256", "bb", "code", "code_sha256", ("aa", "bb")),
        ("versions.numpy", "2.2.0", "versions", "versions.numpy", ("1.26.0", "2.2.0")),
        ("versions.torch", "2.2.0", "versions", "versions.torch", ("-", "2.2.0")),
        ("cluster.kind", "virtual", "boards", "cluster.kind", ("pi", "virtual")),
    ],
)
def test_what_differs_is_told_by_kind_and_name(
    path: str, value: Any, kind: str, name: str, shown: tuple[str, str]
) -> None:
    (found,) = differences([MANIFEST, changed(path, value)])
    assert (found.kind, found.name, found.values) == (kind, name, shown)


def test_names_and_times_make_no_difference_and_boards_are_counted() -> None:
    other = changed("experiment.name", "b")
    other |= {"started_at": "2032-01-01", "command": "other"}
    other["cluster"]["nodes"] = [
        {"name": f"n{each}", "address": f"10.0.0.{each}", "cores": 4, "machine": "aarch64"} for each in (1, 2)
    ]
    found = {each.name: each.values for each in differences([MANIFEST, other])}
    assert found == {
        "nodes": ("1", "2"),
        "nodes.cores": ("1 x 4", "2 x 4"),
        "nodes.machine": ("1 x aarch64", "2 x aarch64"),
    }


def slower(nodes: int, repeat: int, factor: float) -> dict[str, Any]:
    row = trial(nodes, repeat)
    spread = 1 + 0.01 * repeat
    for name in ("train_seconds", "validation_seconds", "total_seconds", "wait_seconds"):
        row[name] *= factor * spread
    row["images_per_train_second"] = 800 / row["train_seconds"]
    return row


@pytest.fixture
def runs(tmp_path: Path) -> tuple[RunPaths, RunPaths]:
    return tuple(  # type: ignore[return-value]
        write_run(tmp_path / name / "run", *(slower(nodes, repeat, factor) for nodes in (1, 2) for repeat in (1, 2, 3)))
        for name, factor in (("first", 1.0), ("second", 2.0))
    )


def test_numbers_stand_side_by_side_with_a_ratio_and_its_interval(
    runs: tuple[RunPaths, RunPaths], tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, [str(runs[0].root), str(runs[1].root), "--csv", str(tmp_path / "c.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "c.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COMPARISON_COLUMNS
    found = {(row["run"], row["nodes"], row["metric"]): row for row in rows}
    row = found["second", "2", "total_seconds"]
    assert float(row["ratio"]) == pytest.approx(2.0)
    assert float(row["ratio_low"]) < 2 < float(row["ratio_high"])
    assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    assert row["trials"] == "3"
    assert found["first", "2", "total_seconds"]["ratio"] == "1.0"
    assert float(found["second", "1", "validation_accuracy"]["ratio"]) == pytest.approx(1.0)
    assert "2.00*" in done.output


def test_names_and_numbers_are_whole_in_a_terminal_of_80_columns() -> None:
    names = ["lenet_scaling_by_cable", "lenet_scaling_over_wifi"]
    value, same, less = (
        Estimate(*each, 3) for each in ((0.9834, 0.9812, 0.9901), (1.0, 0.99, 1.01), (0.5, 0.49, 0.51))
    )
    rows = [
        Compared(name, "", 11, metric, 3, value, ratio)
        for metric in METRICS
        for name, ratio in zip(names, (same, less), strict=True)
    ]
    console = PlainConsole(width=80, file=io.StringIO())
    console.print(comparison_tables(names, [], rows))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    assert [shown.count(name) for name in names] == [len(METRICS)] * 2
    assert [shown.count(head) for head in ("11 nodes", "energy, J per epoch")] == [1, 1]
    assert "98.12% - 99.01%" in shown


def test_energy_is_compared_where_both_runs_have_power(tmp_path: Path) -> None:
    powers = [
        power_of(["pi1", "pi2"], 300.0),
        power_of(["pi1", "pi2"], 300.0, watts=8.0, source="estimate"),
        power_of(["pi1"], 300.0),
    ]
    first, second, half = (
        timed_run(tmp_path / name / "run", power, trial(2, 1), trial(2, 2))
        for name, power in zip(("first", "second", "half"), powers, strict=True)
    )
    done = CliRunner().invoke(app, [str(first.root), str(second.root), "--csv", str(tmp_path / "c.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "c.csv").open(encoding="utf-8") as file:
        found = {(row["run"], row["metric"]): row for row in csv.DictReader(file)}
    # two nodes at 4 W; an epoch is 26 s
    assert float(found["first", "epoch_joules"]["value"]) == pytest.approx(2 * 4.0 * 26, rel=0.05)
    assert float(found["second", "epoch_joules"]["ratio"]) == pytest.approx(2.0, rel=0.05)
    assert float(found["second", "images_per_joule"]["ratio"]) == pytest.approx(0.5, rel=0.05)
    assert "energy, J per epoch" in done.output
    assert "energy of second: an estimate, not measured" in done.output
    none = CliRunner().invoke(app, [str(first.root), str(half.root)])  # nothing is known of its second node
    assert none.exit_code == 0, none.output
    assert "energy," not in none.output


def test_runs_without_a_number_in_common_are_told_by_the_exit_code(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / str(nodes) / "run", trial(nodes)) for nodes in (1, 2))
    done = CliRunner().invoke(app, [str(first.root), str(second.root)])
    assert done.exit_code == 1


def test_one_run_or_the_same_one_twice_is_refused(runs: tuple[RunPaths, RunPaths]) -> None:
    for words, says in ([runs[0].root], "two runs or more"), ([runs[0].root, runs[0].root], "named twice"):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(done.exception, BadInputError)
        assert says in str(done.exception)


def test_runs_are_called_by_what_tells_them_apart() -> None:
    assert names_of([RunPaths(Path("r/a/1")), RunPaths(Path("r/b/1"))]) == ["a", "b"]
    assert names_of([RunPaths(Path("r/a/1")), RunPaths(Path("r/a/2"))]) == ["a/1", "a/2"]
