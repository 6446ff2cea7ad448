"""`harness predict` as a user meets it: from a run directory to tables, JSON, a figure, or two lines that say why not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from predict_runs import COSTS, points, write_run
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import HarnessError


@dataclass(frozen=True)
class Answer:
    """What the verb printed; `error` is what it raised, which `harness` prints in two lines."""

    stdout: str
    stderr: str
    returncode: int
    error: str


def harness(*arguments: str | Path) -> Answer:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    failed = result.exception
    if isinstance(failed, HarnessError):
        return Answer(result.stdout, result.stderr, failed.exit_code, f"{failed.message}; {failed.remedy}")
    assert failed is None, failed
    return Answer(result.stdout, result.stderr, result.exit_code, "")


def predicted(*arguments: str | Path) -> dict[str, Any]:
    result = harness(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def test_constants_survive_the_way_through_the_csvs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"allreduce": points(range(1, 12))}, kind="pi")
    answer = predicted(run.root, "--nodes", "1-16", "--link", "1gbit", "--measured-link", "100mbit")
    (series,) = answer["series"]
    found = [series["costs"][name]["value"] for name in ("image_seconds", "peer_seconds", "exposed")]
    assert found == pytest.approx([COSTS[0], *COSTS[3:5]], rel=0.01)
    assert series["traffic"] == {
        "even_bytes": pytest.approx(250e3, rel=1e-3),
        "whole_bytes": pytest.approx(10e3, rel=1e-2),
        "servers": None,
    }
    assert series["held_out_worst_error"] < 0.01
    base, faster, *_ = series["scenarios"]
    kinds = {row["nodes"]: row["kind"] for row in base["sizes"]}
    assert [kinds[11], kinds[12]] == ["measured", "predicted"]
    assert faster["link_bits_per_second"] == 1e9
    assert (run.figures / "prediction.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (run.figures / "prediction.png").stat().st_size > 10_000


def test_what_happens_only_in_the_first_epoch_is_no_cost_of_a_step(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"allreduce": points((1, 2, 4))})
    second = pd.read_csv(run.epochs)
    first = second.assign(train_seconds=3 * second["train_seconds"])
    pd.concat([first, second.assign(epoch=2)]).to_csv(run.epochs, index=False)
    (series,) = predicted(run.root)["series"]
    steps = [point["step_seconds"] for point in series["measured"]]
    assert steps == pytest.approx([point.step_seconds for point in points((1, 2, 4))])


def test_each_series_is_fitted_on_its_own_and_batches_of_one_store_together(tmp_path: Path) -> None:
    slow = (2e-3, 30e-3, 8e-3, 1.5e-3, 0.6, 0.0)
    both = [point for batch in (16, 64) for point in points((1, 2, 4, 8), costs=slow, batch=batch)]
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4, 8)), "allreduce": both})
    answer = predicted(run.root, "--nodes", "8")
    found = {len(series["measured"]): series for series in answer["series"]}
    assert found[8]["costs"]["step_seconds"]["value"] == pytest.approx(30e-3, rel=0.02)
    assert found[4]["costs"]["image_seconds"]["value"] == pytest.approx(1e-3, rel=0.02)


def test_the_terminal_says_what_was_measured_and_how_far_off_the_model_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4, 8), noise=0.02)})
    result = harness(run.root, "--nodes", "1-64", "--link", "1gbit", "--batch-size", "128")
    assert result.returncode == 0, result.stderr
    for words in (
        "held-out error: mean",
        "beyond the others",
        "predicted",
        "The nodes are virtual",
        "link 1 Gbit/s, batch 128",
        "figure:",
    ):
        assert words in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if not line.startswith("figure")) <= 80


def test_two_sizes_are_too_few_to_know_the_error(tmp_path: Path) -> None:
    result = harness(write_run(tmp_path / "run", {"dist_sync": points((1, 8))}).root)
    assert result.returncode == 0, result.stderr
    assert "two cluster sizes are too few" in result.stdout


def test_one_size_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((4,))})
    command = [sys.executable, "-m", "harness", "predict", str(run.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "at least 2 measured cluster sizes" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "figures").exists()


def test_failed_and_suspect_trials_do_not_count(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4))}, status="suspect")
    assert harness(run.root).returncode == 2


def test_a_series_of_one_size_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4)), "none": points((11,))})
    result = harness(run.root)
    assert result.returncode == 0
    assert "left out: none: one cluster size only (11)" in result.stderr


def test_a_local_run_has_no_link_to_ask_about(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4))}, kind="local")
    result = harness(run.root, "--link", "1gbit")
    assert result.returncode == 2
    assert "--measured-link" in result.error
    assert harness(run.root).returncode == 0


def test_nodes_that_share_a_medium_have_no_link_to_ask_about(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4))})
    about = json.loads(run.manifest.read_text(encoding="utf-8"))
    about["cluster"] |= {"link": "wifi"}
    run.manifest.write_text(json.dumps(about), encoding="utf-8")
    for option in ("--link", "--measured-link"):
        result = harness(run.root, option, "1gbit")
        assert result.returncode == 2
        assert "no links of their own, but one medium" in result.error
    answer = predicted(run.root)
    assert answer["measured_link_bits_per_second"] is None


def test_the_link_that_a_user_names_comes_before_that_of_the_manifest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2, 4))})
    assert predicted(run.root)["measured_link_bits_per_second"] == 1e8
    assert predicted(run.root, "--measured-link", "10mbit")["measured_link_bits_per_second"] == 1e7


@pytest.mark.parametrize("arguments", [("--nodes", "4-1"), ("--nodes", "1-100000"), ("--link", "fast")])
def test_bad_arguments_are_named(tmp_path: Path, arguments: tuple[str, str]) -> None:
    run = write_run(tmp_path / "run", {"dist_sync": points((1, 2))})
    result = harness(run.root, *arguments)
    assert result.returncode == 2
    assert arguments[1] in result.error


def test_no_run_is_named(tmp_path: Path) -> None:
    result = harness(tmp_path)
    assert result.returncode == 2
    assert "is no run directory" in result.error


@pytest.mark.parametrize(("model", "told"), [("stretched", True), ("quota", False)])
def test_what_a_node_did_not_wait_is_its_computing_only_where_it_computes_at_one_speed(
    tmp_path: Path, model: str, told: bool
) -> None:
    run = write_run(tmp_path / "run", {"allreduce": points((1, 2, 4, 8))}, cpu_model=model)
    (series,) = predicted(run.root)["series"]
    assert [point["own_seconds"] is not None for point in series["measured"]] == [told] * 4
