"""Figures: what is on them and that they are written; how they look is for eyes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report_runs import example, trial

from harness.analysis.analysis import Analysis
from harness.analysis.program import Program
from harness.analysis.steps import step_table
from harness.contract.wire import PHASE_KEYS
from harness.display import style
from harness.report import drawings, figures, findings, parts
from harness.report.tables import shown_metrics

TWO_STORES = [
    row for nodes in (1, 2, 4) for row in (trial(nodes), trial(nodes, kvstore="other", trial=f"n{nodes:02d}-r1-other"))
]


OLD: dict[str, float | None] = dict.fromkeys(PHASE_KEYS) | {"wait_seconds": 1.0}
UNTOLD = OLD | {"forward_seconds": 1.0, "backward_seconds": 2.0}


def two_stores() -> Analysis:
    return example(*TWO_STORES, kvstore=["dist_sync", "other"])


def lines(axis: Axes, *, drawn: bool) -> list[list[float]]:
    """The values of the lines that are drawn, or of those that are points only; the ideal is neither."""
    found = []
    for line in axis.get_lines():
        is_ideal = line.get_color() == style.MUTED or line.get_alpha() == 0.7
        if not is_ideal and (line.get_linestyle() != "None") is drawn:
            found.append([float(value) for value in np.asarray(line.get_ydata())])
    return found


def test_time_has_a_line_a_series_and_units() -> None:
    figure = drawings.draw_time(two_stores())
    assert figure is not None
    epoch, total = figure.axes
    assert (epoch.get_xlabel(), epoch.get_ylabel()) == ("nodes", "training and validation, s")
    assert [label.get_title(loc="left") for label in (epoch, total)] == ["Time per epoch", "Total time"]
    assert lines(epoch, drawn=True) == [pytest.approx([50.0, 26.0, 15.5])] * 2
    assert list(epoch.get_xticks()) == [1, 2, 4]
    assert epoch.get_ylim()[0] == 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dist_sync", "other", "ideal (linear)"]


def test_the_ideal_divides_the_first_time_by_the_nodes() -> None:
    figure = drawings.draw_time(example(trial(1), trial(4)))
    assert figure is not None
    (ideal,) = [line for line in figure.axes[0].get_lines() if line.get_color() == style.MUTED]
    y = np.asarray(ideal.get_ydata())
    assert (y[0], y[-1]) == (50.0, 12.5)


def test_a_planned_size_without_data_is_a_gap_and_a_failed_one_a_cross() -> None:
    figure = drawings.draw_time(example(trial(1), trial(2, status="failed"), trial(4)))
    assert figure is not None
    (line,) = lines(figure.axes[0], drawn=True)
    assert np.isnan(line[1])
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [list(np.asarray(cross.get_xdata())) for cross in crosses] == [[2]]
    assert "failed trials" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_repeat_is_a_point_and_suspects_are_hollow() -> None:
    rows = [trial(1), trial(1, 2, total_seconds=120.0), trial(1, 3, status="suspect", total_seconds=110.0)]
    figure = drawings.draw_time(example(*rows))
    assert figure is not None
    total = figure.axes[1]
    assert sorted(value for line in lines(total, drawn=False) for value in line) == [105.0, 110.0, 120.0]
    hollow = [line for line in total.get_lines() if line.get_markerfacecolor() == style.PAPER]
    assert [list(np.asarray(line.get_ydata())) for line in hollow] == [[110.0]]
    assert total.containers == []  # no error bars


def test_accuracy_has_a_line_a_size() -> None:
    figure = drawings.draw_accuracy_by_epoch(example(trial(1), trial(2), trial(4)))
    assert figure is not None
    assert [len(axis.get_lines()) for axis in figure.axes] == [3, 3]
    assert list(np.asarray(figure.axes[1].get_lines()[0].get_ydata())) == [0.90, 0.98]


def test_accuracies_of_several_series_lie_over_each_other_at_the_largest_size() -> None:
    figure = drawings.draw_accuracy_by_epoch(two_stores())
    assert figure is not None
    assert [len(axis.get_lines()) for axis in figure.axes] == [2, 2]
    assert figure.axes[1].get_title(loc="left") == "Validation accuracy at 4 nodes"


def test_a_panel_without_data_is_not_drawn() -> None:
    rows = [trial(n, train_accuracy=None) for n in (1, 2)]
    figure = drawings.draw_accuracy_by_nodes(example(*rows))
    assert figure is not None
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Validation accuracy at the end"]


def test_there_is_one_ideal_whatever_the_series() -> None:
    for figure in (
        drawings.draw_time(two_stores()),
        drawings.draw_scaling(two_stores()),
        drawings.draw_goals(two_stores()),
    ):
        assert figure is not None
        for axis in figure.axes:
            assert (
                sum(line.get_linestyle() == "--" and line.get_color() == style.MUTED for line in axis.get_lines()) <= 1
            )


def test_repeats_have_a_band_of_their_interval_and_one_trial_none() -> None:
    repeated = drawings.draw_time(example(*(trial(n, r, total_seconds=90.0 + r) for n in (1, 2) for r in (1, 2, 3))))
    single = drawings.draw_time(example(trial(1), trial(2)))
    assert repeated is not None
    assert single is not None
    assert [len(axis.collections) for axis in (repeated.axes[1], single.axes[1])] == [1, 0]
    (path,) = repeated.axes[1].collections[0].get_paths()
    assert {round(float(y), 3) for y in np.asarray(path.vertices)[:, 1]} == {91.0, 93.0}


def test_the_time_to_accuracy_leaves_out_sizes_that_never_reached_it() -> None:
    figure = drawings.draw_goals(example(trial(1), trial(4), target=0.98))
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == "Time to 98% validation accuracy"
    assert drawings.draw_goals(example(trial(1), trial(4), target=0.999)) is None


def test_the_parts_of_an_epoch_add_up() -> None:
    figure = drawings.draw_breakdown(example(trial(1), trial(4)))
    assert figure is not None
    seconds, shares = figure.axes
    top = {bar.get_x(): bar.get_y() + bar.get_height() for bar in seconds.patches}  # type: ignore[attr-defined]
    assert sorted(top.values()) == [pytest.approx(15.5), pytest.approx(50.0)]
    assert max(bar.get_y() + bar.get_height() for bar in shares.patches) == pytest.approx(1.0)  # type: ignore[attr-defined]


def test_the_phases_of_a_step_and_the_rest_add_up() -> None:
    figure = drawings.draw_steps(example(trial(1), trial(4)))
    assert figure is not None
    (axis,) = figure.axes
    top = [bar.get_y() + bar.get_height() for bar in axis.patches if bar.get_x() > 3]  # type: ignore[attr-defined]
    # four workers, of which one is half a second faster: 13 s of epoch, 10 steps
    assert max(top) == pytest.approx(1000 * (13 - 0.125) / 10)
    labels = [label.get_text() for label in figure.legends[0].get_texts()]
    assert labels == ["data", "forward", "backward", "push", "waiting for the store", "pull", "update", "other"]


def test_series_lie_below_each_other_at_the_largest_size() -> None:
    figure = drawings.draw_steps(two_stores())
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == "A step at 4 nodes"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dist_sync", "other"]


def test_throughputs_of_one_size_lie_below_each_other_with_their_intervals() -> None:
    rows = [
        trial(4, kvstore=store, repeat=repeat, trial=f"n04-r{repeat}-{store}")
        for store in ("dist_sync", "other")
        for repeat in (1, 2, 3)
    ]
    figure = drawings.draw_throughput(example(*rows, kvstore=["dist_sync", "other"]))
    assert figure is not None
    (axis,) = figure.axes
    assert len(axis.patches) == 2
    assert [label.get_text() for label in axis.get_yticklabels()] == ["dist_sync", "other"]
    assert axis.get_title(loc="left") == "Training throughput at 4 nodes"


@pytest.mark.parametrize("draw", [drawings.draw_time, drawings.draw_accuracy_by_nodes])
def test_series_of_one_size_lie_below_each_other_instead_of_on_each_other(
    draw: Callable[[Analysis], Figure | None],
) -> None:
    rows = [trial(4, kvstore=store, trial=f"n04-r1-{store}") for store in ("dist_sync", "other")]
    figure = draw(example(*rows, kvstore=["dist_sync", "other"]))
    assert figure is not None
    for axis in figure.axes:
        assert [label.get_text() for label in axis.get_yticklabels()] == ["dist_sync", "other"]
        assert axis.get_title(loc="left").endswith("at 4 nodes")


def test_titles_speak_of_cluster_sizes_where_there_are_some(tmp_path: Path) -> None:
    titles = {each.stem: each.title for each in figures.write_figures(example(trial(1), trial(4)), tmp_path)}
    assert titles["time"] == "Training time against cluster size"
    one = {each.stem: each.title for each in figures.write_figures(example(trial(4)), tmp_path)}
    assert (one["time"], one["accuracy_by_nodes"]) == ("Training time", "Accuracy")


def test_a_program_without_batches_has_no_global_batch(tmp_path: Path) -> None:
    rows = trial(1), trial(4)
    with_batch = example(*rows)
    trees = dataclasses.replace(
        with_batch, facts=dataclasses.replace(with_batch.facts, program=Program(name="forest.py"))
    )
    for analysis, told in ((with_batch, True), (trees, False)):
        captions = " ".join(each.caption for each in figures.write_figures(analysis, tmp_path))
        assert ("The global batch grows" in captions) is told
        assert ("global_batch" in shown_metrics(analysis, ("global_batch", "train_accuracy"))) is told
        sentences = " ".join(sentence for each in findings.observations(analysis) for sentence in each.sentences)
        assert ("so the global batch grew" in sentences) is told


def test_a_phase_that_nobody_told_is_no_bar() -> None:
    rows = pd.DataFrame([{"trial": "n01-r1", "rank": 0, "epoch": 1, "steps": 10, "train_seconds": 5.0} | UNTOLD])
    analysis = dataclasses.replace(example(trial(1)), steps=step_table(rows, example(trial(1)).trials))
    figure = drawings.draw_steps(analysis)
    assert figure is not None
    assert [label.get_text() for label in figure.legends[0].get_texts()] == [
        "forward", "backward", "waiting for the store", "other",
    ]  # fmt: skip


def test_a_run_from_before_the_phases_has_no_such_figure() -> None:
    old = pd.DataFrame([{"trial": "n01-r1", "rank": 0, "epoch": 1, "steps": 10, "train_seconds": 5.0} | OLD])
    assert step_table(old, example(trial(1)).trials).empty


def test_telemetry_leaves_out_what_was_zero_throughout() -> None:
    figure = drawings.draw_telemetry(example(trial(1), trial(2)))
    assert figure is not None
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert "Throttled" not in titles
    assert "Temperature, peak of a trial" in titles


def test_no_point_lies_outside_its_panel() -> None:
    # Training and validation far apart, on panels that share an axis.
    analysis = example(trial(1, train_accuracy=0.5), trial(4, train_accuracy=0.4, status="suspect"))
    for kind in figures.KINDS:
        figure = kind.draw(analysis)
        assert figure is not None
        for axis in figure.axes:
            low, high = axis.get_ylim()
            values = [value for line in axis.get_lines() for value in np.asarray(line.get_ydata(), dtype=float)]
            assert all(low <= value <= high for value in values), (kind.stem, axis.get_title(loc="left"))


def test_marks_at_the_top_of_percentages_from_zero_are_whole() -> None:
    axis = Figure().add_subplot()
    axis.plot([1, 11], [0.9, 1.07], marker="o")
    parts.percent(axis, low=0.0)
    assert axis.get_ylim()[1] >= 1.07 * 1.03


@pytest.mark.parametrize("sizes", [(1, 4), (4, 4)])
def test_an_axis_of_accuracies_ends_at_all_of_them_with_room_for_the_mark(sizes: tuple[int, int]) -> None:
    rows = [
        trial(
            nodes, kvstore=store, trial=f"n{nodes:02d}-{store}", train_accuracy=accuracy, validation_accuracy=accuracy
        )
        for nodes, store, accuracy in zip(sizes, ("dist_sync", "other"), (0.4, 1.0), strict=True)
    ]
    figure = drawings.draw_accuracy_by_nodes(example(*rows, kvstore=["dist_sync", "other"]))
    assert figure is not None
    for axis in figure.axes:
        of = axis.xaxis if sizes == (4, 4) else axis.yaxis
        low, high = of.get_view_interval()
        assert 1.0 < high < 1.02
        assert max(tick for tick in of.get_majorticklocs() if low <= tick <= high) == 1.0


def test_a_narrow_axis_of_accuracies_grows_downwards() -> None:
    axis = Figure().add_subplot()
    axis.plot([1, 11], [0.999, 1.0], marker="o")
    parts.percent(axis, most=1.0)
    low, high = axis.get_ylim()
    assert high < 1.0001
    assert high - low == pytest.approx(0.02)


def test_files_are_the_same_for_the_same_numbers_and_know_the_dark(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    written = figures.write_figures(two_stores(), tmp_path / "a")
    assert dict(mpl.rcParams) == before
    dark = style.dark_colours(3)
    again = figures.write_figures(two_stores(), tmp_path / "b")
    assert [file.stem for file in written] == [kind.stem for kind in figures.KINDS]
    for first, second in zip(written, again, strict=True):
        assert first.svg.read_bytes() == second.svg.read_bytes()
        assert first.png.read_bytes().startswith(b"\x89PNG")
        assert set(re.findall(r"#[0-9a-f]{6}\b", first.svg.read_text(encoding="utf-8"))) <= set(dark), first.stem


def test_figures_of_an_earlier_report_go(tmp_path: Path) -> None:
    (tmp_path / "time.svg").touch()
    (tmp_path / "time.png").touch()
    assert figures.write_figures(example(trial(1, status="failed")), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("series", "sizes"), [(1, 1), (4, 11)])
def test_one_point_or_forty_four_draw_without_complaint(tmp_path: Path, series: int, sizes: int) -> None:
    stores = [f"store{n}" for n in range(series)]
    rows = [trial(n, kvstore=store, trial=f"n{n:02d}-{store}") for n in range(1, sizes + 1) for store in stores]
    written = figures.write_figures(example(*rows, kvstore=stores), tmp_path)
    # Of one size there is no speed-up to draw.
    missing = {"scaling"} if sizes == 1 else set()
    assert {file.stem for file in written} == {kind.stem for kind in figures.KINDS} - missing


@pytest.mark.filterwarnings("error")
def test_labels_are_text_and_nothing_else(tmp_path: Path) -> None:
    hostile = ["_hidden", "$\\frac{1}{0}$", "<b>&amp;", "x" * 300]
    rows = [trial(1, kvstore=name, trial=f"t{n}") for n, name in enumerate(hostile)]
    with mpl.rc_context(style.RC):
        figure = drawings.draw_time(example(*rows, kvstore=hostile))
        assert figure is not None
        figure.savefig(tmp_path / "time.svg")
    svg = (tmp_path / "time.svg").read_text(encoding="utf-8")
    assert "_hidden" in svg
    assert "$\\frac{1}{0}$" in svg
    assert "&lt;b&gt;&amp;amp;" in svg
    assert "x" * 61 not in svg


@pytest.mark.parametrize("label", ["images/s at n ÷ at 1 node", "time per epoch at the smallest size ÷ at n"])
def test_a_label_is_no_longer_than_its_panel_is_high(label: str) -> None:
    with mpl.rc_context(style.RC):
        figure, panels = parts.row(2)
        for axis in panels:
            parts.titles(axis, "Speed-up", "nodes", label)
        figure.draw_without_rendering()
        for axis in panels:
            assert axis.yaxis.label.get_window_extent().height <= axis.get_window_extent().height
        assert axis.get_ylabel().replace("\n", " ") == label
