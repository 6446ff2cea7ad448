"""The time to an accuracy: by the first epoch that has it, of each size with its quickest policy, of one run or of two."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from report_runs import epochs_of, manifest, trial

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.statistics.combined import combined_goals, with_accuracy_of
from harness.analysis.statistics.efficiency import reason_above
from harness.errors import BadInputError

Rows = list[dict[str, Any]]


def run_of(rows: Rows, reached: dict[str, tuple[float, ...]], **experiment: Any) -> Analysis:
    """A run whose trials have these accuracies by epoch, by the trial's id."""
    about = manifest(sorted({row["nodes"] for row in rows}))
    about["experiment"] |= {
        "parameters": {"batch_size": 10, "kvstore": "dist_sync", "learning_rate": 0.1},
        **experiment,
    }
    epochs = [epoch for row in rows for epoch in epochs_of(row, reached.get(row["trial"], (0.9, 0.98)))]
    return analyse(pd.DataFrame(rows), pd.DataFrame(epochs), pd.DataFrame(), about)


def goal(analysis: Analysis, nodes: int, accuracy: float) -> pd.Series:
    goals = analysis.goals
    return goals[(goals["nodes"] == nodes) & (goals["accuracy"] == accuracy)].iloc[0]


def test_an_accuracy_is_reached_at_the_end_of_its_first_epoch() -> None:
    # Epochs of 50 s on one node: 90% after the first, 98% after the second; no share of an epoch.
    found = run_of([trial(1)], {"n01-r1": (0.94, 0.98)})
    assert [goal(found, 1, level)["seconds"] for level in (0.9, 0.95, 0.98)] == [50.0, 100.0, 100.0]
    assert goal(found, 1, 0.985)["seconds"] == math.inf


def test_accuracies_are_those_that_the_experiment_declares() -> None:
    found = run_of([trial(1)], {}, accuracies=[0.5, 0.975])
    assert list(found.goals["accuracy"]) == [0.5, 0.975]
    assert found.headlines == (0.975,)


def test_the_report_leads_with_98_and_98_5_per_cent() -> None:
    assert run_of([trial(1)], {"n01-r1": (0.9, 0.986)}).headlines == (0.98, 0.985)


def test_a_median_that_most_trials_did_not_reach_is_never() -> None:
    rows = [trial(1, repeat) for repeat in (1, 2, 3)]
    found = goal(run_of(rows, {"n01-r2": (0.1, 0.2), "n01-r3": (0.1, 0.2)}), 1, 0.98)
    assert (found["trials"], found["reached"], found["seconds"]) == (3, 1, math.inf)
    assert math.isnan(found["speedup"])


POLICIES: Rows = [
    trial(nodes, variant=variant, trial=f"{variant}{nodes}") for nodes in (1, 4) for variant in ("constant", "scaled")
]
# Alone the constant rate needs one epoch, together the scaled one.
REACHED = {"constant1": (0.98, 0.98), "scaled1": (0.9, 0.98), "constant4": (0.5, 0.6), "scaled4": (0.98, 0.98)}


def test_each_size_counts_with_its_quickest_policy_the_smallest_one_too() -> None:
    found = run_of(POLICIES, REACHED, policies=["constant", "scaled"])
    one, four = goal(found, 1, 0.98), goal(found, 4, 0.98)
    assert [row["policy"] for row in (one, four)] == ["constant", "scaled"]
    # 50 s against 15.5 s: the tuned baseline, not 100 s.
    assert four["speedup"] == pytest.approx(50 / 15.5)


def test_variants_that_are_no_policies_stay_apart() -> None:
    found = run_of(POLICIES, REACHED)
    assert [(family.label, family.policies) for family in found.families] == [("constant", ("",)), ("scaled", ("",))]


def test_a_speed_up_has_the_interval_of_its_pairs() -> None:
    rows = [trial(1, r, train_seconds=80.0 * r) for r in (1, 2, 3)] + [
        trial(4, r, train_seconds=20.0 * r) for r in (1, 2, 3)
    ]
    rows = [{**row, "validation_seconds": 0.0} for row in rows]
    found = goal(run_of(rows, {}), 4, 0.98)
    # A machine that becomes slower from repeat to repeat slows both alike.
    assert (found["speedup"], found["speedup_low"], found["speedup_high"]) == pytest.approx((4.0, 4.0, 4.0), rel=0.02)
    assert found["seconds_high"] > 2 * found["seconds_low"]


def test_steps_of_one_run_and_epochs_of_another_give_the_time() -> None:
    timed = [trial(n, learning_rate=0.1) for n in (1, 4)]
    accurate = [trial(n, learning_rate=0.4, train_seconds=1.0) for n in (1, 4)]
    timing, accuracy = run_of(timed, {}), run_of(accurate, {"n04-r1": (0.98, 0.98)})
    found = combined_goals(timing, accuracy)
    seconds = found[found["accuracy"] == 0.98].set_index("nodes")["seconds"]
    for nodes, epochs in ((1, 2), (4, 1)):
        row = timing.trials[timing.trials["nodes"] == nodes].iloc[0]
        steps = epochs * 400 / 10 / nodes
        assert seconds[nodes] == pytest.approx(steps * row["global_batch"] / row["images_per_second"])
    put_together = with_accuracy_of(timing, accuracy, "accuracy/1")
    assert "two runs" in put_together.goals_note
    assert "accuracy/1" in put_together.goals_note


def test_every_policy_of_an_accuracy_run_has_its_time_on_the_timing_runs_clock() -> None:
    timing = run_of([trial(n) for n in (1, 4)], {})
    accuracy = run_of(POLICIES, REACHED, policies=["constant", "scaled"])
    found = with_accuracy_of(timing, accuracy, "accuracy")
    best = found.goals[found.goals["accuracy"] == 0.98].set_index("nodes")
    assert list(best["policy"]) == ["constant", "scaled"]
    each = found.policy_goals[found.policy_goals["accuracy"] == 0.98].set_index(["nodes", "policy"])["seconds"]
    assert each[1, "constant"] == best["seconds"][1]
    assert each[1, "scaled"] == pytest.approx(2 * each[1, "constant"])
    assert each[4, "constant"] == math.inf


def test_of_policies_that_take_as_long_the_one_by_which_most_trials_were_there_counts() -> None:
    rows = [
        trial(1, repeat, variant=variant, trial=f"{variant}{repeat}")
        for variant in ("constant", "scaled")
        for repeat in (1, 2, 3)
    ]
    reached = {each["trial"]: (0.9, 0.9 if each["trial"] == "constant2" else 0.98) for each in rows}
    timing, accuracy = run_of([trial(1)], {}), run_of(rows, reached, policies=["constant", "scaled"])
    found = with_accuracy_of(timing, accuracy, "accuracy").goals
    (row,) = [row for _, row in found.iterrows() if row["accuracy"] == 0.98]
    assert (row["policy"], row["reached"], row["epochs"]) == ("scaled", 3, 2)


def test_runs_of_other_mathematics_are_not_put_together() -> None:
    timing = run_of([trial(1)], {})
    for other in ({"batch_size": 99}, {"kvstore": "dist_async"}):
        with pytest.raises(BadInputError, match=next(iter(other))):
            with_accuracy_of(timing, run_of([trial(1, **other)], {}), "other")


def test_a_slow_repeat_is_compared_with_its_neighbour() -> None:
    rows = [trial(1), trial(1, 2, train_seconds=160.0, validation_seconds=40.0), trial(4), trial(4, 2)]
    rows[3] |= {"train_seconds": 52.0, "validation_seconds": 10.0}
    found = run_of(rows, {})
    assert sorted(found.trials["speedup"]) == pytest.approx([1.0, 1.0, 50 / 15.5, 50 / 15.5])


def test_unlike_nodes_without_rates_have_no_efficiency() -> None:
    about = manifest([1, 2])
    about["cluster"]["virtual"]["node_quotas"] = {"pi2": {"fraction": 0.3}}
    rows = [trial(1), trial(2)]
    epochs = pd.DataFrame([epoch for row in rows for epoch in epochs_of(row)])
    found = analyse(pd.DataFrame(rows), epochs, pd.DataFrame(), about)
    assert found.efficiency_basis == "unknown"
    assert found.points["efficiency"].isna().all()


@pytest.mark.parametrize(
    ("rates", "reason"),
    [((90.0,), "one trial"), ((70.0, 90.0, 100.0), "includes 100%"), ((90.0, 91.0, 92.0), "quota"), ((70.0,), "")],
)
def test_more_than_all_has_a_reason(rates: tuple[float, ...], reason: str) -> None:
    rows = []
    for repeat, rate in enumerate(rates, start=1):
        rows.append(trial(2, repeat, images_per_train_second=rate))
        rows.append(trial(2, repeat, kvstore="none", trial=f"c{repeat}", images_per_train_second=80.0))
    about = {"axes": {"nodes": [2], "kvstore": ["dist_sync", "none"]}}
    found = run_of(rows, {}, **about)
    told = reason_above(found, found.points_of(found.subjects[0]).iloc[0])
    assert reason in told
    assert bool(told) is bool(reason)


def test_the_cpu_model_is_the_trials_or_else_the_clusters() -> None:
    assert run_of([trial(1)], {}).cpu_models == ("quota",)  # before there was a choice
    assert run_of([trial(1, cpu_model="stretched")], {}).cpu_models == ("stretched",)
