"""The benchmark: the experiment it makes of another, and the rates that come of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, validate
from harness.experiment.plan import expand
from harness.nodes.inventory import Cluster, Node
from harness.results.run_paths import RunPaths
from harness.sweep.benchmark import (
    WHOLE,
    benchmark_of,
    benchmark_of_work,
    load_rates,
    measured_rates,
    nominal_batch,
    unlike,
    usual_batches,
    write_rates,
)


def declared(**changes: Any) -> Experiment:
    parameters = {"model": "lenet5", "batch_size": 64, "kvstore": "dist_sync", "wire": "float32", "epochs": 10}
    document = {"name": "tiny", "program": "train.py", "parameters": parameters, "axes": {"nodes": "1-4"}, **changes}
    return validate(document, "test")


def cluster(*names: str) -> Cluster:
    nodes = [Node(name, f"10.0.0.{n}", local=False, root="/opt/harness") for n, name in enumerate(names, 1)]
    return Cluster(Path("inventory/mine"), "pi", tuple(nodes))


def test_it_trains_without_store_and_validation_at_every_batch_size() -> None:
    small, large = expand(benchmark_of(declared(), nodes=2, batches=[64, 16], steps=20, epochs=5))
    assert (small.id, large.id) == ("n02-r1-batch_16", "n02-r1-batch_64")
    assert small.parameters == {
        "model": "lenet5", "batch_size": 16, "kvstore": "none", "wire": None, "epochs": 6, "validation": False,
        "limit": 16 * 20 * 2,
    }  # fmt: skip
    assert (large.parameters["batch_size"], large.parameters["limit"]) == (64, 64 * 20 * 2)
    assert list(small.roles) == ["worker"]
    assert small.environment == {"HARNESS_MEASURED_AS": '{"kvstore": "dist_sync"}'}


ALLREDUCE = {"parameters": {"kvstore": "allreduce"}}


@pytest.mark.parametrize(
    "variants",
    [
        {"all": ALLREDUCE},
        {"even": {}, "shared": {**ALLREDUCE, "batches": "by_rate"}},
    ],
)
def test_it_computes_as_with_the_store_of_the_trials_that_will_share(variants: dict[str, Any]) -> None:
    own = {"MXNET_ENGINE_TYPE": "ThreadedEnginePerDevice"}
    measuring = benchmark_of(declared(variants=variants, environment=own), 1, [1, 2], steps=1, epochs=1)
    for trial in expand(measuring):
        assert trial.environment == {"HARNESS_MEASURED_AS": '{"kvstore": "allreduce"}', **own}
        assert trial.parameters["kvstore"] == "none"


@pytest.mark.parametrize(
    "changes",
    [
        {"variants": {"stock": {}, "fast": ALLREDUCE}},
        {"axes": {"nodes": 1, "kvstore": ["dist_sync", "allreduce"]}},
    ],
)
def test_several_stores_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match=r"several values of kvstore.*: allreduce, dist_sync") as caught:
        benchmark_of(declared(**changes), nodes=1, batches=[1, 2], steps=1, epochs=1)
    assert caught.value.remedy == "measure for one of them: --set kvstore=allreduce"


def test_batch_sizes_take_turns() -> None:
    trials = expand(benchmark_of(declared(), nodes=1, batches=[1, 2], steps=1, epochs=1, repeats=2))
    assert [trial.parameters["batch_size"] for trial in trials] == [1, 2, 1, 2]


def test_sizes_lie_around_the_nominal_one() -> None:
    assert usual_batches(64) == [16, 64, 128]
    assert usual_batches(1) == [1, 2]


def test_one_batch_size_is_refused() -> None:
    with pytest.raises(BadInputError, match="cannot tell a step's fixed cost"):
        benchmark_of(declared(), nodes=1, batches=[64, 64], steps=1, epochs=1)


@pytest.mark.parametrize("missing", ["batch_size", "kvstore"])
def test_an_experiment_that_has_no_such_parameter_is_refused(missing: str) -> None:
    parameters = {name: value for name, value in declared().parameters.items() if name != missing}
    with pytest.raises(BadInputError, match=f"has no parameter {missing}"):
        benchmark_of(declared(parameters=parameters), nodes=1, batches=[1, 2], steps=1, epochs=1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["n01-r1-batch_16,node01,2,10,0.5"], "node01 has no rate: .* those of 16"),
        (["n01-r1-batch_16,node01,1,10,0.5", "n01-r1-batch_64,node01,1,10,0.9"], "no epoch after a trial's first"),
    ],
)
def test_a_run_that_tells_no_rate_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    benchmark, paths = benchmark_of(declared(), nodes=1, batches=[16, 64], steps=10, epochs=1), RunPaths(tmp_path)
    paths.epochs.write_text("\n".join(["trial,node,epoch,steps,train_seconds", *lines, ""]), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        measured_rates(paths, benchmark, cluster("node01"))


def test_a_run_becomes_rates_that_can_be_loaded(tmp_path: Path) -> None:
    benchmark = benchmark_of(declared(), nodes=2, batches=[16, 64], steps=10, epochs=1)
    paths = RunPaths(tmp_path)
    lines = ["trial,node,epoch,steps,train_seconds"]
    for node, image in (("node01", 0.001), ("node02", 0.004)):
        for size in (16, 64):
            lines += [
                f"n02-r1-batch_{size},{node},1,10,99",
                f"n02-r1-batch_{size},{node},2,10,{10 * (0.01 + size * image)}",
            ]
    paths.epochs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "manifest.json").touch()
    machines = cluster("node01", "node02")
    rates = measured_rates(paths, benchmark, machines)
    assert [(rate.fixed_seconds, rate.image_seconds) for rate in rates] == [
        (pytest.approx(0.01), pytest.approx(0.001)),
        (pytest.approx(0.01), pytest.approx(0.004)),
    ]
    rows = write_rates(paths, benchmark, machines, rates, 64)
    assert [row["share"] for row in rows] == [pytest.approx(103 / 128, abs=1e-5), pytest.approx(25 / 128, abs=1e-5)]
    loaded = load_rates(tmp_path)
    assert [rate.node for rate in loaded.of(machines.nodes)] == ["node01", "node02"]
    assert loaded.about["batch_sizes"] == "16 64"
    assert unlike(loaded, declared()) == ""
    assert unlike(loaded, declared(parameters={**declared().parameters, "model": "lenet"})) == "model lenet5"


def forest(**changes: Any) -> Experiment:
    return declared(program="forest.py", parameters={"via": "joblib", "pool": "threads", "trees": 100}, **changes)


def test_a_program_without_a_batch_does_all_of_its_work_on_every_node() -> None:
    measuring = benchmark_of_work(forest(), nodes=3, repeats=2)
    one, two = expand(measuring)
    assert (one.nodes, one.repeat, two.repeat) == (3, 1, 2)
    assert one.parameters == {"via": "pool", "pool": None, "trees": 100}
    assert list(one.roles) == ["trainer"]
    assert nominal_batch(forest()) == WHOLE


def test_its_rates_are_items_over_seconds(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    rows = ["trial,node,epoch,images,train_seconds"]
    rows += [f"n02-r{repeat},{node},1,100,{seconds}" for node, times in (("a", (1, 9, 2)), ("b", (10, 12, 10)))
             for repeat, seconds in enumerate(times, 1)]  # fmt: skip
    paths.epochs.write_text("\n".join(rows) + "\n", encoding="utf-8")
    measuring = benchmark_of_work(forest(), nodes=2, repeats=3)
    rates = measured_rates(paths, measuring, cluster("a", "b"))
    assert [(rate.node, rate.fixed_seconds, rate.image_seconds) for rate in rates] == [
        ("a", 0.0, 0.02),
        ("b", 0.0, 0.1),
    ]
    rows_written = write_rates(paths, measuring, cluster("a", "b"), rates, WHOLE)
    assert [row["images_per_second"] for row in rows_written] == [50.0, 10.0]
    assert load_rates(paths.rates).about["program"] == "forest.py"
