"""Figures of courses: against seconds and bytes, in a changing world, and who did the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report_runs import epochs_of, trial, write_run

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.load import load_run
from harness.display import style
from harness.report import make_report
from harness.report.courses import costs, kinds, volunteers
from harness.report.courses.events import Events
from harness.results.run_paths import RunPaths

RULES = [trial(2), trial(2, kvstore="other", trial="n02-r1-other")]
SENT = {"n02-r1": 1e6, "n02-r1-other": 4e7}
"""Bytes of a worker in an epoch."""


def written(root: Path, events: dict[str, list[dict[str, Any]]] | None = None) -> RunPaths:
    """A run of two series on two nodes, whose workers count what they send."""
    paths = write_run(root, *RULES, kvstore=["dist_sync", "other"])
    rows = [{**epoch, "bytes_sent": SENT[row["trial"]]} for row in RULES for epoch in epochs_of(row)]
    pd.DataFrame(rows).to_csv(paths.epochs, index=False)
    for name, found in (events or {}).items():
        paths.trial_events(name).parent.mkdir(parents=True)
        lines = [json.dumps(event) for event in found]
        paths.trial_events(name).write_text("\n".join(['{"event": "window"', "[]", *lines]) + "\n", encoding="utf-8")
    return paths


def drawn(paths: RunPaths) -> dict[str, Figure | None]:
    run, analysis = load_run(paths), analysed(paths)
    with mpl.rc_context(style.RC):
        return {kind.stem: kind.draw(analysis) for kind in kinds(run, paths)}


def analysed(paths: RunPaths) -> Analysis:
    run = load_run(paths)
    return analyse(run.trials, run.epochs, run.telemetry, run.manifest)


def window(rank: int, tick: int, changes: int) -> dict[str, Any]:
    """As a home prints it; the homes' means are what is drawn."""
    return {
        "event": "window", "rank": rank, "window": tick // 10, "tick": tick, "own_accuracy": 0.8 + 0.1 * rank,
        "all_accuracy": tick / 100, "old_accuracy": 0.3 if changes else None, "changed": changes,
    }  # fmt: skip


def test_accuracy_is_drawn_against_seconds_and_bytes_a_node(tmp_path: Path) -> None:
    paths = written(tmp_path)
    found = drawn(paths)
    assert found["worlds"] is None
    assert found["shares"] is None
    figure = found["accuracy_by_cost"]
    assert figure is not None
    by_time, by_bytes = figure.axes
    assert by_bytes.get_xscale() == "log"
    seconds = [list(np.asarray(line.get_xdata(), float)) for line in by_time.get_lines()]
    assert seconds[0] == pytest.approx([26.0, 52.0])
    megabytes = [list(np.asarray(line.get_xdata(), float)) for line in by_bytes.get_lines()]
    assert megabytes == [pytest.approx([1.0, 2.0]), pytest.approx([40.0, 80.0])]
    assert [list(np.asarray(line.get_ydata(), float)) for line in by_bytes.get_lines()] == [[0.90, 0.98]] * 2


def test_one_series_or_no_bytes_is_no_comparison(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "bytes", *RULES, kvstore=["dist_sync", "other"]))
    analysis = analysed(RunPaths(tmp_path / "bytes"))
    assert costs.draw(analysis, run.epochs) is None
    alone = write_run(tmp_path / "alone", trial(2))
    assert costs.draw(analysed(alone), load_run(alone).epochs) is None


def test_worlds_show_means_of_homes_and_when_it_changed(tmp_path: Path) -> None:
    events = [window(rank, tick, int(tick > 20)) for tick in (10, 20, 30) for rank in (0, 1)]
    figure = drawn(written(tmp_path, {"n02-r1": events}))["worlds"]
    assert figure is not None
    own, now, old, _ = figure.axes
    assert list(np.asarray(own.get_lines()[0].get_ydata(), float)) == pytest.approx([0.85] * 3)
    assert list(np.asarray(now.get_lines()[0].get_ydata(), float)) == pytest.approx([0.1, 0.2, 0.3])
    assert list(np.asarray(old.get_lines()[0].get_xdata(), float)) == [30]
    (moment,) = [line for line in now.get_lines() if line.get_color() == style.MUTED]
    assert list(np.asarray(moment.get_xdata(), float)) == [20, 20]


def test_shares_are_parts_of_what_counted(tmp_path: Path) -> None:
    said = [
        {"event": "volunteers", "shares": {"a": 10}, "done_again": {"a": 0}},
        {"event": "volunteers", "shares": {"a": 300, "b": 100}, "done_again": {"a": 0, "b": 40}},
    ]
    paths = written(tmp_path, {"n02-r1": said, "n02-r1-other": [{"event": "volunteers", "shares": 7}]})
    table = volunteers.table(analysed(paths), Events(paths))
    assert table[["node", "share", "again"]].values.tolist() == [["a", 0.75, 0.0], ["b", 0.25, 0.1]]
    page = make_report(paths).read_text(encoding="utf-8")
    assert "Who did the work" in page
    assert "Accuracy against time and bytes" in page
