"""What holds where an experiment, a variant, an axis and the command line say different things."""

from __future__ import annotations

from typing import Any

from harness.experiment.declaration import Experiment, validate
from harness.experiment.overrides import with_overrides
from harness.experiment.plan import expand


def declared(**changes: Any) -> Experiment:
    document: dict[str, Any] = {
        "name": "e",
        "program": "train.py",
        "parameters": {"epochs": 1, "batch_size": 8},
        "environment": {"BOTH": "experiment", "OURS": "1"},
        "variants": {"v": {"parameters": {"epochs": 5}, "environment": {"BOTH": "variant"}}, "plain": {}},
        **changes,
    }
    return validate(document, "test")


def test_a_variants_environment_goes_before_the_experiments() -> None:
    told = {trial.variant: trial.environment for trial in expand(declared())}
    assert told == {"v": {"BOTH": "variant", "OURS": "1"}, "plain": {"BOTH": "experiment", "OURS": "1"}}


def test_a_swept_value_is_what_the_trials_name_says() -> None:
    trials = expand(declared(axes={"nodes": 1, "epochs": [2, 3]}))
    assert {trial.id: trial.parameters["epochs"] for trial in trials} == {
        "n01-r1-v-epochs_2": 2,
        "n01-r1-plain-epochs_2": 2,
        "n01-r1-v-epochs_3": 3,
        "n01-r1-plain-epochs_3": 3,
    }


def test_what_is_set_on_the_command_line_holds_for_every_variant() -> None:
    trials = expand(with_overrides(declared(), settings=["epochs=9"], environment=["OURS=2"]))
    assert {trial.parameters["epochs"] for trial in trials} == {9}
    assert {trial.environment["OURS"] for trial in trials} == {"2"}
    swept = expand(with_overrides(declared(), settings=["epochs=7,8"]))
    assert sorted((trial.variant, trial.parameters["epochs"]) for trial in swept) == [
        ("plain", 7),
        ("plain", 8),
        ("v", 7),
        ("v", 8),
    ]


def test_one_value_on_the_command_line_ends_an_axis() -> None:
    trials = expand(with_overrides(declared(axes={"nodes": 1, "epochs": [2, 3]}), settings=["epochs=4"]))
    assert [(trial.id, trial.parameters["epochs"]) for trial in trials] == [("n01-r1-v", 4), ("n01-r1-plain", 4)]


def test_a_variants_batches_go_before_the_experiments() -> None:
    variants = {"v": {"batches": "even"}, "plain": {}}
    trials = expand(declared(batches="by_rate", variants=variants))
    assert {trial.variant: trial.batches for trial in trials} == {"v": "even", "plain": "by_rate"}


def test_repeats_and_sizes_of_the_command_line_hold() -> None:
    changed = with_overrides(declared(axes={"nodes": 1, "repeats": 1}), repeats=3, nodes="2")
    assert [(trial.nodes, trial.repeat) for trial in expand(changed) if trial.variant == "v"] == [
        (2, 1),
        (2, 2),
        (2, 3),
    ]


def test_a_parameter_that_is_swept_keeps_its_own_value_beside_the_axis() -> None:
    changed = with_overrides(declared(), settings=["batch_size=16,32", "seed=4,5"])
    assert changed.axes.parameters == {"batch_size": [16, 32], "seed": [4, 5]}
    assert (changed.parameters["batch_size"], changed.parameters["seed"]) == (8, 4)  # of a new one the first


def test_policies_that_are_left_out_are_no_policies() -> None:
    both = declared(policies=["v", "plain"])
    assert with_overrides(both, variants=["v"]).policies == ["v"]
    assert with_overrides(both).policies == ["v", "plain"]
    assert with_overrides(declared(policies=["plain"]), variants=["v"]).policies == []
