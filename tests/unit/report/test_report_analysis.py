"""Numbers of the report against numbers worked out by hand (see report_runs.trial for where they come from)."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from report_runs import epochs_of, example, manifest, telemetry_of, trial

from harness.analysis.analysis import Analysis, Target, analyse


def point(analysis: Analysis, nodes: int, series: int = 0) -> pd.Series:
    points = analysis.points
    return points[(points["nodes"] == nodes) & (points["series"] == series)].iloc[0]


def test_times_speedup_and_efficiency() -> None:
    # 1 node: (80 + 20) s over 2 epochs. 4 nodes: 80/4 + 2*3 = 26 s training, 20/4 = 5 s validation.
    analysis = example(trial(1), trial(4))
    one, four = point(analysis, 1), point(analysis, 4)
    assert one["epoch_seconds"] == 50.0
    assert four["epoch_seconds"] == pytest.approx(15.5)
    assert four["speedup"] == pytest.approx(50 / 15.5)
    assert four["efficiency"] == pytest.approx(50 / 15.5 / 4)
    assert four["total_speedup"] == pytest.approx(105 / 36)
    assert (one["speedup"], one["efficiency"]) == (1.0, 1.0)


def test_shares_and_steps() -> None:
    four = point(example(trial(1), trial(4)), 4)
    # 6 s waiting of 31 s; 20 steps in 2 epochs; 24,000 bytes by 4 workers.
    assert four["wait_share"] == pytest.approx(6 / 31)
    assert four["validation_share"] == pytest.approx(5 / 31)
    assert four["startup_share"] == pytest.approx(5 / 36)
    assert four["compute_epoch_seconds"] == pytest.approx(10.0)
    assert four["step_seconds"] == pytest.approx(26 / 20)
    assert four["wait_step_seconds"] == pytest.approx(6 / 20)
    assert four["bytes_per_worker_step"] == pytest.approx(24_000 / 20 / 4)
    assert four["bytes_per_image"] == pytest.approx(24_000 / 800)
    assert (four["worker_batch"], four["global_batch"], four["steps_per_epoch"]) == (10, 40, 10)


def test_repeats_give_median_and_range() -> None:
    rows = [trial(1, repeat, total_seconds=seconds) for repeat, seconds in ((1, 100.0), (2, 130.0), (3, 104.0))]
    one = point(example(*rows), 1)
    assert (one["total_seconds"], one["total_seconds_min"], one["total_seconds_max"]) == (104.0, 100.0, 130.0)
    assert one["trials"] == 3


def test_speedup_is_against_the_smallest_measured_size() -> None:
    # 2 nodes: 42 + 10 = 52 s; 4 nodes: 31 s. Twice the nodes.
    four = point(example(trial(1, status="failed", failure="x"), trial(2), trial(4)), 4)
    assert four["base_nodes"] == 2
    assert four["speedup"] == pytest.approx(52 / 31)
    assert four["efficiency"] == pytest.approx(52 / 31 / 2)


def test_epochs_of_other_images_at_every_size_are_compared_by_their_rates() -> None:
    # Each epoch is cut after as many steps: 4 nodes train three times the images of one, in 13 s an epoch instead of 40.
    four = point(example(trial(1), trial(4, images=2400, images_per_train_second=2400 / 26)), 4)
    assert four["speedup"] == pytest.approx((2400 / 26) / (800 / 80), rel=0.05)  # of each worker's own seconds
    assert four["efficiency"] == pytest.approx(four["speedup"] / 4)


def test_without_epochs_the_total_time_counts() -> None:
    nothing = {"train_seconds": None, "validation_seconds": None, "wait_seconds": None, "images_per_train_second": None}
    rows = [trial(1, total_seconds=60.0, **nothing), trial(2, total_seconds=40.0, **nothing)]
    analysis = analyse(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), manifest([1, 2]))
    assert point(analysis, 2)["speedup"] == pytest.approx(1.5)
    assert math.isnan(point(analysis, 2)["epoch_seconds"])


def test_swept_parameters_make_series_and_the_control_comes_last() -> None:
    control = {"kvstore": "none", "trial": "n02-r1-none", "images_per_train_second": 40.0}
    analysis = example(trial(2, **control), trial(2, images_per_train_second=10.0), kvstore=["none", "dist_sync"])
    assert analysis.parameters == ("kvstore",)
    assert [(one.label, one.control) for one in analysis.series] == [("dist_sync", False), ("none", True)]
    assert [one.label for one in analysis.subjects] == ["dist_sync"]
    assert point(analysis, 2)["efficiency"] == pytest.approx(0.25)


def test_kept_compares_with_the_control_of_the_same_repeat() -> None:
    rows = []
    for repeat, (rate, control) in enumerate(((10.0, 20.0), (30.0, 40.0)), start=1):
        rows.append(trial(2, repeat, images_per_train_second=rate))
        rows.append(trial(2, repeat, kvstore="none", trial=f"n02-r{repeat}-none", images_per_train_second=control))
    analysis = example(*rows, kvstore=["dist_sync", "none"])
    assert sorted(analysis.trials["efficiency"].dropna()) == pytest.approx([0.5, 0.75])


def test_throughput_is_every_workers_own_after_the_first_epoch() -> None:
    row = trial(2, kvstore="none")
    seconds = {(1, 0): 100.0, (1, 1): 90.0, (2, 0): 10.0, (2, 1): 20.0}
    rows = [{**each, "train_seconds": seconds[each["epoch"], each["rank"]]} for each in epochs_of(row)]
    found = analyse(pd.DataFrame([row]), pd.DataFrame(rows), pd.DataFrame(), manifest([2]))
    assert point(found, 2)["images_per_second"] == pytest.approx(200 / 10 + 200 / 20)


def test_throughput_with_a_workers_rows_missing_is_the_trials() -> None:
    row = trial(2)
    found = analyse(pd.DataFrame([row]), pd.DataFrame(epochs_of(row)[::2]), pd.DataFrame(), manifest([2]))
    assert point(found, 2)["images_per_second"] == pytest.approx(row["images_per_train_second"])


def test_variants_are_series_whatever_else_they_change() -> None:
    rows = [
        trial(1, variant="stock", trial="a"),
        trial(1, variant="control", kvstore="none", trial="b", batch_size=99),
    ]
    analysis = example(*rows)
    assert analysis.parameters == ("variant",)
    assert [(one.label, one.control) for one in analysis.series] == [("stock", False), ("control", True)]


def test_without_a_manifest_what_varies_at_one_size_was_swept() -> None:
    rows = [trial(1), trial(1, 2), trial(2, batch_size=5), trial(1, trial="x", learning_rate=0.2)]
    epochs = pd.DataFrame([epoch for row in rows for epoch in epochs_of(row)])
    analysis = analyse(pd.DataFrame(rows), epochs, pd.DataFrame(), {})
    # The seed differs between repeats and the batch only between sizes: neither tells curves apart.
    assert analysis.parameters == ("learning_rate",)


def test_failed_trials_are_listed_and_in_no_curve() -> None:
    analysis = example(trial(1), trial(2, status="failed", failure="worker1 on pi2 was killed"), trial(4))
    assert sorted(analysis.points["nodes"]) == [1, 4]
    assert list(analysis.failures["failure"]) == ["worker1 on pi2 was killed"]
    assert analysis.sizes == (1, 2, 4)


def test_suspect_trials_count_and_are_marked() -> None:
    analysis = example(trial(1), trial(1, 2, status="suspect"))
    assert point(analysis, 1)["suspects"] == 1
    assert sorted(analysis.trials["suspect"]) == [False, True]
    assert list(analysis.suspects["trial"]) == ["n01-r2"]


def test_time_to_target_adds_up_epochs() -> None:
    # 98% in the second of two epochs of 50 s and of 15.5 s.
    analysis = example(trial(1), trial(4))
    assert analysis.target == Target(0.97)
    assert point(analysis, 1)["target_seconds"] == 100.0
    assert point(analysis, 4)["target_seconds"] == pytest.approx(31.0)
    assert point(analysis, 4)["target_epochs"] == 2


def test_a_target_that_was_asked_for_stays() -> None:
    analysis = example(trial(1), target=0.9)
    assert point(analysis, 1)["target_seconds"] == 50.0
    assert math.isnan(point(example(trial(1), target=0.999), 1)["target_seconds"])


def test_the_target_falls_to_what_all_reached_without_the_control() -> None:
    low, control = trial(4), trial(1, kvstore="none", trial="c")
    epochs = [*epochs_of(trial(1)), *epochs_of(low, (0.5, 0.8347)), *epochs_of(control, (0.1, 0.2))]
    trials = pd.DataFrame([trial(1), low, control])
    analysis = analyse(trials, pd.DataFrame(epochs), pd.DataFrame(), manifest([1, 4], kvstore=["dist_sync", "none"]))
    assert analysis.target == Target(0.834, lowered=True)


def test_epochs_of_an_unfinished_trial_are_left_out_with_a_note() -> None:
    epochs = [*epochs_of(trial(1)), *epochs_of(trial(2))]
    plan = {**manifest([1, 2, 4]), "trials": ["n01-r1", "n02-r1", "n04-r1"]}
    analysis = analyse(pd.DataFrame([trial(1)]), pd.DataFrame(epochs), pd.DataFrame(), plan)
    assert list(analysis.points["nodes"]) == [1]
    assert analysis.sizes == (1, 2, 4)
    assert any("n02-r1" in note and "left out" in note for note in analysis.notes)
    assert any("1 of 3 planned trials" in note for note in analysis.notes)


def test_a_retried_trial_counts_its_last_rows() -> None:
    first = [{**row, "train_seconds": 999.0, "validation_accuracy": 0.1} for row in epochs_of(trial(1))]
    analysis = analyse(
        pd.DataFrame([trial(1, status="failed"), trial(1)]),
        pd.DataFrame([*first, *epochs_of(trial(1))]),
        pd.DataFrame(),
        manifest([1]),
    )
    assert len(analysis.failures) == 0
    assert point(analysis, 1)["target_seconds"] == 100.0


def test_retries_and_nodes_left_out_are_told() -> None:
    analysis = example(trial(1), trial(2, attempts=2, left_out="pi3 pi4"))
    assert "Needed more than one attempt: n02-r1." in analysis.notes
    assert not any("checkpoint" in note or "in place" in note for note in analysis.notes)
    assert "Ran on other nodes, with pi3 pi4 left out after failures: n02-r1." in analysis.notes


def test_what_went_on_from_a_checkpoint_is_told() -> None:
    analysis = example(trial(1), trial(2, recovered=1, continued_from_epoch=3))
    assert "Started again in place after a worker had died: n02-r1." in analysis.notes
    assert any(note.startswith("Went on from a checkpoint") and note.endswith(": n02-r1.") for note in analysis.notes)


def test_bytes_of_a_shared_loopback_are_nobodys() -> None:
    row = trial(2)
    frames = (pd.DataFrame(rows) for rows in ([row], epochs_of(row), telemetry_of(row)))
    analysis = analyse(*frames, manifest([2], kind="local"))
    assert math.isnan(point(analysis, 2)["bytes_per_image"])
    assert analysis.telemetry["sent_bytes_per_second"].isna().all()
    assert any("loopback" in note for note in analysis.notes)


def test_telemetry_becomes_means_peaks_and_rates() -> None:
    row = trial(2)
    samples = [*telemetry_of(row)]
    samples[0]["throttled"] = "0x50005"
    samples[1]["throttled"] = "50000"
    analysis = analyse(pd.DataFrame([row]), pd.DataFrame(epochs_of(row)), pd.DataFrame(samples), manifest([2]))
    health = analysis.telemetry.set_index("node")
    assert health.loc["pi1", "cpu_percent"] == 85.0
    assert health.loc["pi1", "temperature_celsius"] == 51.0
    assert health.loc["pi2", "sent_bytes_per_second"] == 200_000.0
    # Now in one of two samples; the other says only that it happened since the start.
    assert health.loc["pi1", "throttled"] == 0.5
    assert health.loc["pi2", "throttled"] == 0.0


def test_rates_on_the_wire_leave_out_the_time_between_two_starts() -> None:
    row = trial(1)
    before = telemetry_of(row)
    later = [{**sample, "time": sample["time"].replace("T00", "T07")} for sample in telemetry_of(row)]
    frames = (pd.DataFrame(rows) for rows in ([row], epochs_of(row), [*before, *later]))
    analysis = analyse(*frames, manifest([1]))
    assert analysis.telemetry["sent_bytes_per_second"].tolist() == [100_000.0]


@pytest.mark.parametrize("rows", [[], [trial(1, status="failed", failure="x")]])
def test_nothing_measured_is_no_error(rows: list[dict[str, object]]) -> None:
    analysis = analyse(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), {})
    assert analysis.points.empty
    assert analysis.target is None
    assert analysis.subjects == ()
