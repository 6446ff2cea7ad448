"""Trials: their order, ids, parameters and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.experiment.declaration import Experiment, by_rate, validate
from harness.experiment.plan import Trial, arguments, expand, largest, remaining, trial_id


def experiment(**changes: Any) -> Experiment:
    document = {
        "name": "tiny",
        "program": "train.py",
        "parameters": {"kvstore": "dist_sync", "batch_size": 64, "seed": 5},
        "axes": {"nodes": "1-2", "repeats": 2, "kvstore": ["dist_sync", "none"]},
        **changes,
    }
    return validate(document, "test")


def server_count(trial: Trial) -> int:
    """Parameter servers of a trial."""
    role = trial.roles.get("server")
    if role is None:
        return 0
    count = trial.program.count_of(role, trial.parameters)
    return trial.nodes if count is None else count


def test_repeats_are_outermost_and_alternatives_are_neighbours() -> None:
    assert [trial.id for trial in expand(experiment())] == [
        "n01-r1-kvstore_dist_sync",
        "n01-r1-kvstore_none",
        "n02-r1-kvstore_dist_sync",
        "n02-r1-kvstore_none",
        "n01-r2-kvstore_dist_sync",
        "n01-r2-kvstore_none",
        "n02-r2-kvstore_dist_sync",
        "n02-r2-kvstore_none",
    ]


def test_each_repeat_has_its_own_seed() -> None:
    seeds = {trial.repeat: trial.parameters["seed"] for trial in expand(experiment())}
    assert seeds == {1: 5, 2: 6}


def test_a_store_without_servers_gets_none() -> None:
    counts = {trial.id: server_count(trial) for trial in expand(experiment()) if trial.repeat == 1}
    assert counts == {
        "n01-r1-kvstore_dist_sync": 1,
        "n01-r1-kvstore_none": 0,
        "n02-r1-kvstore_dist_sync": 2,
        "n02-r1-kvstore_none": 0,
    }


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    variants = {"stock": {}, "tuned": {"environment": {"BOUND": "1"}, "parameters": {"batch_size": 32, "servers": 1}}}
    axes = {"nodes": 2}
    parameters = {"kvstore": "dist_sync", "batch_size": 64, "seed": 5, "servers": None}
    stock, tuned = expand(experiment(variants=variants, axes=axes, environment={"THREADS": "1"}, parameters=parameters))
    assert (stock.id, tuned.id) == ("n02-r1-stock", "n02-r1-tuned")
    assert stock.parameters["batch_size"] == 64
    assert tuned.parameters == {**stock.parameters, "batch_size": 32, "servers": 1}
    assert (dict(stock.environment), dict(tuned.environment)) == ({"THREADS": "1"}, {"THREADS": "1", "BOUND": "1"})
    assert (server_count(stock), server_count(tuned)) == (2, 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (64, ["--batch-size=64"]),
        (0.05, ["--batch-size=0.05"]),
        (True, ["--batch-size"]),
        (False, ["--no-batch-size"]),
        (None, []),
        ("$(rm -rf ~); -x 'y\"", ["--batch-size=$(rm -rf ~); -x 'y\""]),
    ],
)
def test_parameters_become_arguments(value: Any, words: list[str]) -> None:
    assert arguments({"batch_size": value}) == words


def test_ids_are_fit_for_files_and_units() -> None:
    assert trial_id(3, 1, "", {"path": "../../etc/passwd", "x": "a b;$(c)"}) == "n03-r1-path_.._.._etc_passwd-x_a_b_c_"


@pytest.mark.parametrize(
    ("store", "needed"), [("dist_sync", True), ("dist_async", True), ("allreduce", False), ("none", False)]
)
def test_who_needs_parameter_servers(store: str, needed: bool) -> None:
    document = {"name": "e", "program": "train.py", "parameters": {"kvstore": store}}
    (trial,) = expand(validate(document, "test"))
    assert ({"scheduler", "server"} <= set(trial.roles)) is needed


def test_a_program_that_does_not_say_gets_no_parameter_servers(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    (trial,) = expand(validate({"name": "e", "program": "mine.py"}, "test", directory=tmp_path))
    assert list(trial.roles) == ["worker"]


def test_what_is_left_keeps_its_order() -> None:
    trials = expand(experiment())
    left = remaining(trials, {trials[0].id, trials[2].id})
    assert left == [trials[1], *trials[3:]]
    assert largest(left) == 2
    assert largest([]) == 0


def test_given_rates_are_for_the_variants_that_ask_or_else_for_all() -> None:
    variants = {"even": {}, "mixed": {"batches": "by_rate"}}
    assert [trial.batches for trial in expand(by_rate(experiment(variants=variants, axes={})))] == ["even", "by_rate"]
    assert {trial.batches for trial in expand(by_rate(experiment()))} == {"by_rate"}
    assert {trial.batches for trial in expand(experiment())} == {"even"}


def test_a_variant_may_be_run_at_some_sizes_alone() -> None:
    trials = expand(
        experiment(axes={"nodes": "1-3"}, variants={"all": {}, "one": {"nodes": 1}, "rest": {"nodes": "2-9"}})
    )
    assert [(trial.nodes, trial.variant) for trial in trials] == [
        (1, "all"), (1, "one"), (2, "all"), (2, "rest"), (3, "all"), (3, "rest"),
    ]  # fmt: skip
