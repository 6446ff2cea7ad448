"""From samples of power to joules of trials, epochs and accuracies; what is missing is never made up unsaid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import epochs_of, manifest, moment, power_of, trial

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.energy.integral import drawn, samples_of
from harness.analysis.energy.windows import windows_of
from harness.analysis.epochs import epoch_table

Rows = list[dict[str, Any]]


def timed(row: dict[str, Any], begins: float = 5.0) -> Rows:
    """The epochs of a trial, each of which ends where the clock says so; start-up takes 5 s."""
    seconds = (row["train_seconds"] + row["validation_seconds"]) / 2
    return [{**epoch, "time": moment(begins + seconds * epoch["epoch"])} for epoch in epochs_of(row)]


def ranks_of(*rows: dict[str, Any]) -> Rows:
    return [{"trial": row["trial"], "node": f"pi{node}"} for row in rows for node in range(1, row["nodes"] + 1)]


def run_of(*rows: dict[str, Any], power: Rows, ranks: Rows | None = None, dilation: float = 1.0) -> Analysis:
    about = manifest(sorted({row["nodes"] for row in rows}))
    about["cluster"]["time_dilation"] = dilation
    epochs = [epoch for row in rows for epoch in timed(row)]
    return analyse(
        pd.DataFrame(rows), pd.DataFrame(epochs), pd.DataFrame(), about, power=pd.DataFrame(power),
        ranks=pd.DataFrame(ranks_of(*rows) if ranks is None else ranks),
    )  # fmt: skip


def numbers(found: Analysis) -> dict[str, float]:
    (row,) = found.trials.to_dict("records")
    return {str(name): value for name, value in row.items()}


def fixed(name: str, watts: float, idle: float, source: str = "estimate", part: str = "node") -> Rows:
    shared = {"time": moment(-10), "node": name, "part": part, "source": source, "origin": "somebody"}
    return [{**shared, "watts": idle, "state": "idle"}, {**shared, "watts": watts, "state": "busy"}]


def test_an_epochs_energy_is_power_over_its_time() -> None:
    # One node: two epochs of 50 s after a start-up of 5 s.
    found = numbers(run_of(trial(1), power=power_of(["pi1"], 120)))
    assert (found["watts"], found["epoch_joules"], found["total_joules"]) == pytest.approx((4.0, 200.0, 420.0))
    assert found["epoch_joules_above_idle"] == pytest.approx(150.0)
    assert found["images_per_joule"] == pytest.approx(800 / 400)


def test_energy_to_an_accuracy_is_that_of_the_epochs_up_to_it() -> None:
    # 90% after the first epoch, 98% after the second, which draws three times as much.
    power = [{**row, "watts": 2.0 if str(row["time"]) < moment(55) else 6.0} for row in power_of(["pi1"], 120)]
    reached = run_of(trial(1), power=power).energy.reached.set_index("accuracy")["joules"]
    assert (reached[0.9], reached[0.98], reached[0.985]) == pytest.approx((100.0, 400.0, math.inf))


def test_all_nodes_and_the_switch_are_added_up_and_a_node_without_a_trial_is_not() -> None:
    power = [*power_of(["pi1", "pi2", "pi3"], 60), *power_of(["switch"], 60, watts=10.0, part="other")]
    found = run_of(trial(2), power=power)
    # Two nodes: two epochs of 26 s and a switch.
    seconds = 0.5 * (trial(2)["train_seconds"] + trial(2)["validation_seconds"])
    assert numbers(found)["epoch_joules"] == pytest.approx((2 * 4 + 10) * seconds)
    assert list(found.energy.parts["name"]) == ["pi1", "pi2", "switch"]
    assert found.energy.notes[0] == "Energy is of the trial's nodes, and of switch, whole in every trial."


def test_one_plug_for_all_is_whole_in_every_trial() -> None:
    found = run_of(trial(1), trial(2), power=power_of(["cluster"], 120, part="other"))
    assert list(found.trials["watts"]) == pytest.approx([4.0, 4.0])
    assert "no node has a meter of its own" in found.energy.notes[0]


def test_a_node_of_which_nothing_is_known_leaves_the_trial_without_energy() -> None:
    found = run_of(trial(2), power=power_of(["pi1"], 60))
    assert math.isnan(numbers(found)["epoch_joules"])
    assert "No energy is given of trials with nodes of which nothing is known: pi2." in found.notes


def test_a_gap_is_said_and_filled_with_the_mean_of_the_rest() -> None:
    power = [row for row in power_of(["pi1"], 120, every=2) if not moment(60) < str(row["time"]) < moment(70)]
    found = run_of(trial(1), power=power)
    # A sample holds for three intervals, so of ten seconds four are missing.
    assert numbers(found)["epoch_joules"] == pytest.approx(200.0)
    assert (
        "Samples are missing, and the mean of the others stands for them: pi1 in n01-r1 (4.0% of the time)."
        in found.energy.notes
    )


def test_where_too_much_is_missing_nothing_is_given() -> None:
    power = [row for row in power_of(["pi1"], 120, every=2) if not moment(60) < str(row["time"]) < moment(90)]
    found = run_of(trial(1), power=power)
    assert math.isnan(numbers(found)["epoch_joules"])
    (note,) = [note for note in found.notes if note.startswith("No energy is given where")]
    assert note.endswith("cover less than 90% of a trial's time: n01-r1 (pi1: 76%).")
    # The first epoch is whole.
    assert found.energy.reached["joules"].isna().all()


def test_what_a_meter_was_asked_in_vain_is_counted() -> None:
    power = power_of(["pi1"], 120, every=2)
    power[30]["watts"] = power[31]["watts"] = np.nan
    found = run_of(trial(1), power=power)
    assert numbers(found)["epoch_joules"] == pytest.approx(200.0)
    assert "Meters that did not answer: pi1 (2 of 65 times)." in found.energy.notes


def test_watts_that_cannot_be_are_no_answer() -> None:
    power = power_of(["pi1"], 120, every=2)
    power[30]["watts"], power[31]["watts"] = -4.0, 1e9
    found = run_of(trial(1), power=power)
    assert numbers(found)["epoch_joules"] == pytest.approx(200.0)
    assert "Meters that did not answer: pi1 (2 of 65 times)." in found.energy.notes


def test_idle_is_the_median_of_what_was_measured_then() -> None:
    power = power_of(["pi1"], 120, every=2)
    power[0]["watts"] = 40.0  # when it was plugged in
    assert numbers(run_of(trial(1), power=power))["epoch_joules_above_idle"] == pytest.approx(150.0)


@pytest.mark.parametrize("order", [1, -1])
def test_an_estimate_is_of_undilated_time_and_is_called_one(order: int) -> None:
    found = run_of(trial(1), power=fixed("pi1", 3.7, 1.4)[::order], dilation=3.0)
    assert numbers(found)["epoch_joules"] == pytest.approx(3.7 * 50)
    assert numbers(found)["epoch_joules_above_idle"] == pytest.approx(2.3 * 50)
    assert numbers(found)["total_joules"] == pytest.approx(3.7 * 105)
    assert found.energy.sources == ("estimate",)
    assert "An estimate, not measured: pi1 at 3.7 W and idle 1.4 W (somebody)." in found.energy.notes


def test_dilated_epochs_are_found_where_the_clock_had_them() -> None:
    # At half speed: a start-up of 10 s, and epochs of 100 s, the first of which draws 6 W in its second half.
    row = trial(1)
    epochs = [{**epoch, "time": moment(10 + 100 * epoch["epoch"])} for epoch in epochs_of(row)]
    power = [
        {**each, "watts": 6.0 if moment(60) <= str(each["time"]) < moment(110) else 2.0}
        for each in power_of(["pi1"], 230)
    ]
    about = manifest([1])
    about["cluster"]["time_dilation"] = 2.0
    found = analyse(
        pd.DataFrame([row]), pd.DataFrame(epochs), pd.DataFrame(), about, power=pd.DataFrame(power),
        ranks=pd.DataFrame(ranks_of(row)),
    )  # fmt: skip
    assert found.energy.reached.set_index("accuracy")["joules"][0.9] == pytest.approx(4.0 * 50)
    assert numbers(found)["epoch_joules"] == pytest.approx((4.0 + 2.0) * 50 / 2)
    assert numbers(found)["total_joules"] == pytest.approx((2.0 * 160 + 6.0 * 50) / 2)


def test_epochs_end_with_their_last_worker_and_begin_no_earlier_than_the_one_before_ended() -> None:
    row = trial(2)
    ends = {(1, 0): 30.0, (1, 1): 40.0, (2, 0): 55.0, (2, 1): 58.0}
    epochs = pd.DataFrame(
        [{**each, "time": moment(ends[each["epoch"], each["rank"]])} for each in epochs_of(row)]
    ).astype({"epoch": float})
    frame = pd.DataFrame([row]).assign(continued_from_epoch=math.nan)
    (window,) = windows_of(frame, epoch_table(epochs), epochs, 1.0).values()
    start = window.whole[0]
    assert list(window.ends - start) == pytest.approx([40.0, 58.0])
    assert list(window.begins - start) == pytest.approx([14.0, 40.0])


def test_a_start_up_without_samples_is_told_beside_epochs_that_have_all() -> None:
    power = [row for row in power_of(["pi1"], 120, every=1) if not moment(-6) < str(row["time"]) < moment(5)]
    found = run_of(trial(1), power=power)
    assert numbers(found)["epoch_joules"] == pytest.approx(200.0)
    assert found.energy.parts["covered"].iloc[0] == pytest.approx(100 / 105)


def test_a_meter_comes_before_an_estimate_in_the_trials_that_it_saw() -> None:
    first, second = trial(1), {**trial(1, 2), "started_at": moment(1000)}
    about = manifest([1])
    found = analyse(
        pd.DataFrame([first, second]),
        pd.DataFrame([*timed(first), *timed(second, 1005)]),
        pd.DataFrame(),
        about,
        power=pd.DataFrame([*fixed("pi1", 3.0, 1.0), *power_of(["pi1"], 120)]),
        ranks=pd.DataFrame(ranks_of(first, second)),
    )
    assert list(found.energy.parts["source"]) == ["meter", "estimate"]
    assert list(found.trials["watts"]) == pytest.approx([4.0, 3.0])


def test_a_trial_that_went_on_from_a_checkpoint_has_no_whole() -> None:
    found = numbers(run_of({**trial(1), "continued_from_epoch": 1}, power=power_of(["pi1"], 120)))
    assert found["epoch_joules"] == pytest.approx(200.0)
    assert math.isnan(found["total_joules"])


def test_a_program_without_epochs_has_its_whole_alone() -> None:
    row = trial(1)
    found = analyse(
        pd.DataFrame([row]), pd.DataFrame(), pd.DataFrame(), manifest([1]), power=pd.DataFrame(power_of(["pi1"], 120)),
        ranks=pd.DataFrame(ranks_of(row)),
    )  # fmt: skip
    assert (numbers(found)["watts"], numbers(found)["total_joules"]) == pytest.approx((4.0, 420.0))
    assert math.isnan(numbers(found)["epoch_joules"])


def test_ranks_on_the_controller_need_no_meter_and_nodes_are_known_from_epochs_too() -> None:
    ranks = [*ranks_of(trial(1)), {"trial": "n01-r1", "node": "controller"}]
    assert numbers(run_of(trial(1), power=power_of(["pi1"], 120), ranks=ranks))["watts"] == pytest.approx(4.0)
    assert numbers(run_of(trial(1), power=power_of(["pi1"], 120), ranks=[]))["watts"] == pytest.approx(4.0)


def test_a_csv_of_three_columns_is_enough() -> None:
    power = [{key: row[key] for key in ("time", "node", "watts")} for row in power_of(["pi1"], 120)]
    found = run_of(trial(1), power=power)
    assert numbers(found)["epoch_joules"] == pytest.approx(200.0)
    assert math.isnan(numbers(found)["epoch_joules_above_idle"])
    assert "What is drawn idle is not known of pi1." in found.energy.notes


def test_without_power_there_is_nothing() -> None:
    found = run_of(trial(1), power=[])
    assert (found.energy.is_known, found.energy.notes) == (False, ())
    assert math.isnan(numbers(found)["watts"])


WATTS = st.lists(st.floats(0, 100) | st.just(math.nan), min_size=2, max_size=30)


@given(watts=WATTS, every=st.floats(0.1, 100), edges=st.tuples(st.floats(-50, 500), st.floats(0, 300)))
def test_windows_never_have_more_than_was_drawn_and_add_up(
    watts: list[float], every: float, edges: tuple[float, float]
) -> None:
    samples = samples_of(every * np.arange(len(watts)), np.array(watts))
    begin, length = edges
    middle, end = begin + length / 3, begin + length
    found = drawn(samples, np.array([begin, begin, middle]), np.array([end, middle, end]))
    assert found.joules[1] + found.joules[2] == pytest.approx(found.joules[0], abs=1e-6)
    assert 0 <= found.covered[0] <= length + 1e-6
    assert found.joules[0] <= np.nanmax([*watts, 0.0]) * found.covered[0] + 1e-6


def test_a_meter_that_is_asked_often_may_miss_a_few_answers() -> None:
    samples = samples_of(np.array([0.2, 0.0, 0.1, 20.0]), np.array([3.0, 1.0, 2.0, 1.0]))  # in any order
    found = drawn(samples, np.array([0.0, 0.2]), np.array([0.2, 20.0]))
    assert list(found.joules) == pytest.approx([0.3, 15.0])
    assert list(found.covered) == pytest.approx([0.2, 5.0])


def test_a_sample_holds_until_the_next_but_not_over_a_gap() -> None:
    samples = samples_of(np.array([0.0, 2.0, 4.0, 6.0, 30.0]), np.array([1.0, 1.0, math.nan, 3.0, 5.0]))
    found = drawn(samples, np.array([0.0, 6.0, 20.0]), np.array([6.0, 20.0, 33.0]))
    assert list(found.joules) == pytest.approx([6.0, 18.0, 15.0])
    assert list(found.covered) == pytest.approx([6.0, 6.0, 3.0])
