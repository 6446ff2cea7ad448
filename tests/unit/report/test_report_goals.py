"""The time to accuracy on page and terminal, with its policies, intervals and where it is from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_runs import epochs_of, example, manifest, telemetry_of, trial, write_run
from rich.console import Console
from typer.testing import CliRunner

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.load import load_run
from harness.cli.app import app
from harness.errors import BadInputError
from harness.report import summary
from harness.report.findings import goal_sentences
from harness.report.page import render_page
from harness.report.tables import Table, tables
from harness.results.run_paths import RunPaths


def changed(paths: RunPaths, **experiment: Any) -> RunPaths:
    """The same run with this in its manifest's experiment."""
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    manifest["experiment"] |= experiment
    paths.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    return paths


def policies(root: Path, repeats: int = 3) -> RunPaths:
    """Two policies on 1 and 4 nodes, each repeat a little slower; `slow` takes twice as long."""
    rows = [
        trial(nodes, repeat, variant=policy, trial=f"n{nodes:02d}-r{repeat}-{policy}", train_seconds=seconds)
        for repeat in range(1, repeats + 1)
        for nodes in (1, 4)
        for policy, slower in (("quick", 1), ("slow", 2))
        for seconds in [80.0 / nodes * slower * (1 + repeat / 50)]
    ]
    return changed(write_run(root, *rows), policies=["quick", "slow"], variants={"quick": {}, "slow": {}})


def analysed(paths: RunPaths) -> tuple[Analysis, Mapping[str, Any]]:
    run = load_run(paths)
    return analyse(run.trials, run.epochs, run.telemetry, run.manifest, notes=run.notes), run.manifest


def shown(paths: RunPaths, width: int = 80) -> str:
    console = Console(width=width, record=True, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(paths))
    return capture.get()


def titled(analysis: Analysis, title: str) -> Table:
    return next(table for table in tables(analysis) if table.title == title)


def test_the_terminal_leads_with_the_time_to_accuracy_its_interval_and_policy(tmp_path: Path) -> None:
    text = shown(policies(tmp_path))
    assert text.index("s to 98.0%") < text.index("epoch s")
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["4"] and "quick" in line]
    nodes, seconds, speedup, low, _, high, epochs, policy = line.split()
    assert (nodes, epochs, policy) == ("4", "2", "quick")
    assert float(low) <= float(speedup) <= float(high)
    assert float(seconds) == pytest.approx(20 * 1.04 + 5, abs=0.05)
    assert max(map(len, text.splitlines())) <= 80


def test_sentences_say_how_much_faster_an_accuracy_is_reached() -> None:
    rows = [trial(nodes, repeat) for nodes in (1, 4) for repeat in (1, 2, 3)]
    ((label, (said,)),) = goal_sentences(example(*rows))
    assert label == ""
    assert said == (
        "98% validation accuracy took 100 s on 1 node (2 epochs) and 31.0 s on 4 nodes (2 epochs): 3.23 times as fast."
    )
    ((_, (single,)),) = goal_sentences(example(trial(1), trial(4)))
    assert "3.23 times as fast (one trial each: no interval)" in single


def test_a_ratio_whose_interval_holds_1_is_no_gain() -> None:
    rows = [trial(1, r, train_seconds=80.0) for r in (1, 2, 3)]
    rows += [
        trial(2, r, train_seconds=seconds, validation_seconds=20.0) for r, seconds in ((1, 70.0), (2, 79.0), (3, 90.0))
    ]
    ((_, (said,)),) = goal_sentences(example(*rows))
    assert "no difference to be seen: 1.01 times as fast (95%: 0.9" in said


def test_a_ratio_of_repeats_that_did_not_all_reach_it_is_not_called_no_difference() -> None:
    rows = [trial(nodes, repeat) for nodes in (1, 4) for repeat in (1, 2, 3)]
    epochs = [epoch for row in rows for epoch in epochs_of(row, (0.9, 0.91 if row is rows[-1] else 0.98))]
    telemetry = [sample for row in rows for sample in telemetry_of(row)]
    analysis = analyse(pd.DataFrame(rows), pd.DataFrame(epochs), pd.DataFrame(telemetry), manifest([1, 4]))
    ((_, (said,)),) = goal_sentences(analysis)
    assert "3.23 times as fast" in said
    assert "not sure, for not every repeat reached it" in said
    assert "no difference" not in said


def test_tables_name_the_policy_and_have_every_policys_time(tmp_path: Path) -> None:
    analysis, _ = analysed(policies(tmp_path))
    best, every = titled(analysis, "Time to accuracy"), titled(analysis, "Time to 98% by policy")
    assert [heading for heading, _ in best.columns] == ["nodes", "time to 98%", "speed-up", "policy", "epochs"]
    (_, rows), *_ = best.groups
    assert [row[3].median for row in rows] == ["quick", "quick"]
    assert rows[0][2].median == "1"
    assert [heading for heading, _ in every.columns] == ["nodes", "quick", "slow"]


def test_one_size_has_no_speed_up_anywhere() -> None:
    analysis = example(trial(2), trial(2, 2))
    headings = {heading for table in tables(analysis) for heading, _ in table.columns}
    assert "speed-up" not in headings
    assert "efficiency" not in headings


def test_more_than_all_is_marked_and_explained_below_its_table() -> None:
    rows = [trial(2, images_per_train_second=90.0), trial(2, kvstore="none", trial="c", images_per_train_second=80.0)]
    table = titled(example(*rows, kvstore=["dist_sync", "none"]), "Time")
    marked = [cell.median for _, group in table.groups for row in group for cell in row if cell.median.endswith("†")]
    assert marked == ["112%†"]
    assert any(note.startswith("† Above 100% at 2 nodes: ") for note in table.notes)


def test_the_header_has_the_runs_own_settings_and_not_what_its_file_says(tmp_path: Path) -> None:
    paths = changed(
        write_run(tmp_path, trial(1)), parameters={"learning_rate": 0.4, "validation": True}, description="At 0.05."
    )
    header, _, rest = page(paths).partition("<main>")
    assert "<span>learning_rate</span> 0.4" in header
    assert "<span>validation</span> true" in header
    assert "At 0.05." not in header
    assert "At 0.05." in rest


def page(paths: RunPaths) -> str:
    analysis, manifest = analysed(paths)
    return render_page(analysis, [], manifest)


@pytest.mark.parametrize(
    ("model", "said"), [("quota", "Caution:"), ("stretched", "at one speed"), ("none", "Nothing limited")]
)
def test_the_page_says_how_processors_were_slowed_down(tmp_path: Path, model: str, said: str) -> None:
    paths = write_run(tmp_path, trial(1))
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    manifest["cluster"]["virtual"]["options"]["cpu_model"] = model
    if model == "none":
        manifest["cluster"]["virtual"]["quota"] = {"fraction": None}
    paths.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    shown_page = page(paths)
    assert said in shown_page
    assert f"CPU model {model}" in shown_page.partition("<main>")[0]


def test_a_suspect_trials_own_reason_is_listed(tmp_path: Path) -> None:
    assert "was too busy" in page(
        write_run(tmp_path, trial(1, status="suspect", suspect_because="the machine was too busy"))
    )


def test_the_report_takes_the_accuracy_of_another_run(tmp_path: Path) -> None:
    settings = {"parameters": {"batch_size": 10, "kvstore": "dist_sync"}}
    timing = changed(write_run(tmp_path / "timing", trial(1), trial(4)), **settings)
    accuracy = changed(
        write_run(tmp_path / "accuracy", trial(1, train_seconds=9.0), trial(4, train_seconds=9.0)), **settings
    )
    epochs = pd.read_csv(timing.epochs).assign(validation_accuracy=None)
    epochs.to_csv(timing.epochs, index=False)
    alone = CliRunner().invoke(app, ["report", str(timing.root)])
    both = CliRunner().invoke(app, ["report", str(timing.root), "--accuracy-from", str(accuracy.root)])
    assert alone.exit_code == both.exit_code == 0, both.output
    assert "s to 98.0%" not in alone.output
    assert "s to 98.0%" in both.output
    assert "put together from two runs" in " ".join(both.output.split())
    assert "put together from two runs" in timing.report.read_text(encoding="utf-8")


def test_the_accuracy_of_another_training_is_refused(tmp_path: Path) -> None:
    timing = changed(write_run(tmp_path / "timing", trial(1)), parameters={"batch_size": 10})
    other = changed(write_run(tmp_path / "other", trial(1, batch_size=20)), parameters={"batch_size": 20})
    refused = CliRunner().invoke(app, ["report", str(timing.root), "--accuracy-from", str(other.root)])
    assert isinstance(refused.exception, BadInputError)
    assert "batch_size is 10 here, 20 there" in refused.exception.message


def test_what_was_put_together_says_so_beside_its_figure() -> None:
    analysis = dataclasses.replace(example(trial(1), trial(4)), goals_note="From two runs.")
    assert "From two runs." in titled(analysis, "Time to accuracy").notes


def test_the_gain_over_another_policy_of_one_node_is_said_too(tmp_path: Path) -> None:
    analysis, _ = analysed(policies(tmp_path))
    ((_, sentences),) = goal_sentences(analysis)
    assert "and 25.8 s on 4 nodes (policy quick, 2 epochs): 4.00 times as fast" in sentences[0]
    assert sentences[1].startswith("Against 1 node with policy slow (3 min 06 s) it is 7.2")
