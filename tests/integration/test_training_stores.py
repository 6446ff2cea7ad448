"""Real MXNet, real ps-lite: what the workers of a trial compute together, held against plain NumPy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import training_job
import training_reference
from training import datasets, models, schedule, sharding
from training.kvstores.parameter_server.server_shards import BOUND
from training.reporting.phases import PHASES

pytestmark = pytest.mark.mxnet

IMAGES = 250  # no multiple of any batch below: a remainder sits out in every epoch
EPOCHS = 2
WARMUP_STEPS = 5
SEED = 3
RATE = 0.1


def arguments(**chosen: object) -> list[str]:
    """Options of a short run on the embedded digits."""
    options = {
        "model": "lenet5",
        "dataset": "digits",
        "limit": IMAGES,
        "epochs": EPOCHS,
        "warmup_steps": WARMUP_STEPS,
        "learning_rate": RATE,
        "seed": SEED,
        **chosen,
    }
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def reference(model: str, batch: int, images: datasets.Split) -> dict[str, np.ndarray]:
    """Weights that one process reaches with the whole batch."""
    architecture = models.load(model, 10)
    split = images.enlarged(architecture.side)
    steps = EPOCHS * (len(split.images) // batch)
    return training_reference.train(
        architecture.first_weights(SEED),
        split.images,
        split.labels,
        deviation=datasets.named("digits").deviation,
        side=architecture.side,
        pooling=training_reference.pooling(architecture),
        batch=batch,
        rates=[schedule.at_step(RATE, step, WARMUP_STEPS) for step in range(steps)],
        epochs=EPOCHS,
        seed=SEED,
    )


def assert_close(found: Path, expected: dict[str, np.ndarray]) -> None:
    """Same arrays, as far as float32 can tell after a run."""
    with np.load(found) as weights:
        assert list(weights) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.fixture(scope="module")
def digits() -> datasets.Split:
    return datasets.load("digits", Path("unused"), IMAGES).train


@pytest.mark.parametrize(
    ("model", "workers", "servers"), [("lenet5", 1, 1), ("lenet5", 2, 1), ("lenet5", 3, 2), ("lenet", 2, 2)]
)
def test_workers_together_compute_what_one_process_does(
    tmp_path: Path, digits: datasets.Split, model: str, workers: int, servers: int
) -> None:
    batch = 24 // workers
    options = arguments(model=model, batch_size=batch, kvstore="dist_sync", save_weights=tmp_path / "weights.npz")
    # a bound below the big arrays' size, so that some are split over the servers and some are not
    ranks = training_job.run(workers, servers, options, tmp_path, **{BOUND: "5000"})

    assert_close(tmp_path / "weights.npz", reference(model, batch * workers, digits))
    assert [events[0]["rank"] for events in ranks] == list(range(workers))
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    for events in ranks:
        assert [event["event"] for event in events] == ["ready", "epoch", "epoch", "done"]
        assert events[0]["parameters"] == models.load(model, 10).parameters()
        assert events[1]["steps"] == sharding.steps_per_epoch(IMAGES, batch, workers)
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            assert events[2][name] == ranks[0][2][name]


def test_the_derived_bound_only_moves_arrays(tmp_path: Path) -> None:
    """Sums of two are the same bits whoever adds them, so where an array lies must not show in the weights."""
    digests = set()
    for given, derived in (({}, {BOUND: "10080"}), ({BOUND: "1000000"}, {})):
        ranks = training_job.run(2, 3, arguments(batch_size=12, kvstore="dist_sync", epochs=1), tmp_path, **given)
        assert [events[0]["environment"] for events in ranks] == [derived, derived]
        digests |= {events[-1]["weights_sha256"] for events in ranks}
    assert len(digests) == 1


def test_a_node_that_is_measured_alone_computes_as_with_its_store(tmp_path: Path) -> None:
    options = arguments(batch_size=12, kvstore="none", epochs=1)
    ((ready, *_),) = training_job.run(
        1, 0, options, tmp_path, HARNESS_MEASURED_AS='{"kvstore": "dist_sync"}', DMLC_NUM_SERVER="2"
    )
    assert ready["environment"] == {BOUND: "10080"}


def test_metrics_are_those_of_the_whole_validation_set(tmp_path: Path) -> None:
    """300 images, in parts of 150 and in one of 300: the same numbers."""
    options = arguments(batch_size=12, kvstore="dist_sync", epochs=1)
    pair = training_job.run(2, 1, options, tmp_path)
    options = arguments(batch_size=24, kvstore="dist_sync", epochs=1)
    single = training_job.run(1, 1, options, tmp_path)
    for name in ("train_accuracy", "validation_accuracy"):
        assert pair[0][1][name] == pytest.approx(single[0][1][name], abs=1e-9)
    for name in ("train_loss", "validation_loss"):
        assert pair[0][1][name] == pytest.approx(single[0][1][name], rel=1e-4)
    assert pair[0][1]["images"] + pair[1][1]["images"] == single[0][1]["images"]


@pytest.mark.parametrize(
    ("store", "servers", "untold"),
    [("none", 0, set()), ("allreduce", 0, set()), ("dist_sync", 1, {"push", "pull", "update"})],
)
def test_an_epochs_phases_add_up_to_its_training(tmp_path: Path, store: str, servers: int, untold: set[str]) -> None:
    options = arguments(batch_size=12, kvstore=store, limit=480)
    waits = []
    for events in training_job.run(2, servers, options, tmp_path, HARNESS_TRIAL_TOKEN="t"):  # noqa: S106
        epoch = events[2]
        seconds = {phase: epoch[f"{phase}_seconds"] for phase in PHASES}
        assert {phase for phase, value in seconds.items() if value is None} == untold
        told = sum(value or 0 for value in seconds.values())
        assert 0.85 * epoch["train_seconds"] < told <= epoch["train_seconds"]
        assert seconds["forward"] > 0
        assert seconds["backward"] > 0
        waits.append(seconds["wait"])
        assert (epoch["packets_sent"] > 0) is (epoch["bytes_sent"] > 0)
    # who is always the later of two finds everything there
    assert {"none": not any(waits), "allreduce": any(waits), "dist_sync": all(waits)}[store], waits


def test_asynchronous_workers_learn(tmp_path: Path) -> None:
    options = arguments(batch_size=16, kvstore="dist_async", limit=1200, epochs=3, learning_rate=0.05)
    ranks = training_job.run(2, 2, options, tmp_path)
    first, second = (events[1:-1] for events in ranks)
    for epochs in (first, second):
        assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2
        assert epochs[-1]["validation_accuracy"] > 0.7
    assert [event["train_accuracy"] for event in ranks[0][1:-1]] == [
        event["train_accuracy"] for event in ranks[1][1:-1]
    ]


def test_independent_workers_stay_independent(tmp_path: Path) -> None:
    ranks = training_job.run(2, 0, arguments(batch_size=12, kvstore="none"), tmp_path)
    assert [events[0]["rank"] for events in ranks] == [0, 1]
    assert ranks[0][-1]["weights_sha256"] != ranks[1][-1]["weights_sha256"]
    assert ranks[0][1]["steps"] == ranks[1][1]["steps"] == IMAGES // 24
    assert ranks[0][1]["wait_seconds"] == 0.0


def test_alone_without_a_store_is_the_reference_too(tmp_path: Path, digits: datasets.Split) -> None:
    options = arguments(batch_size=24, kvstore="none", save_weights=tmp_path / "weights.npz")
    (events,) = training_job.run(1, 0, options, tmp_path)
    assert_close(tmp_path / "weights.npz", reference("lenet5", 24, digits))
    assert events[1]["train_seconds"] > 0
    assert events[1]["cpu_seconds"] > 0


def test_without_validation_its_numbers_are_null(tmp_path: Path) -> None:
    options = [*arguments(batch_size=24, kvstore="none", epochs=1), "--no-validation"]
    (events,) = training_job.run(1, 0, options, tmp_path)
    assert events[1]["validation_accuracy"] is None
    assert events[1]["validation_loss"] is None
    assert events[1]["validation_seconds"] == 0.0


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"kvstore": "dist_sync"}, "dist_sync"),
        ({"dataset": "mnist", "data_dir": "/nowhere", "kvstore": "none"}, "/nowhere/mnist"),
        ({"batch_size": 0}, "--batch-size"),
        ({"batch_size": 251, "kvstore": "none"}, "250 training images"),
    ],
)
def test_faults_are_named_with_exit_code_2(tmp_path: Path, chosen: dict[str, object], names: str) -> None:
    program = training_job.start(arguments(**chosen), {}, tmp_path)
    output, errors = program.communicate(timeout=training_job.LIMIT_SECONDS)
    assert program.returncode == 2
    (event,) = training_job.events(output)
    assert event["event"] == "error"
    assert names in event["message"]
    assert event["remedy"]
    assert event["message"] in errors
    assert "Traceback" not in errors


def test_a_worker_that_fails_ends_although_others_wait_for_it(tmp_path: Path) -> None:
    """Worker 0 cannot write its weights; MXNet's store would hold it at exit for a barrier that worker 1 never sees."""
    options = arguments(batch_size=12, epochs=1, kvstore="dist_sync", save_weights=tmp_path / "absent" / "weights.npz")
    with training_job.trial(2, 1, options, tmp_path) as ranks:
        ended = training_job.first_to_end(ranks)
        _, errors = ended.communicate(timeout=training_job.LIMIT_SECONDS)
    assert ended.returncode == 1
    assert "FileNotFoundError" in errors


@pytest.mark.parametrize(("model", "rate"), [("lenet5", 0.1), ("lenet", 0.01)])
def test_a_list_of_layers_gives_the_bits_of_the_model_written_by_hand(tmp_path: Path, model: str, rate: float) -> None:
    by_hand = [Path(__file__).with_name("lenet_by_hand.py"), model, 24, EPOCHS, SEED, rate, IMAGES]
    found = subprocess.run(
        [training_job.runtime_python(), *map(str, by_hand)], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=training_job.LIMIT_SECONDS, check=True,
    )  # fmt: skip
    options = arguments(model=model, batch_size=24, kvstore="none", learning_rate=rate, warmup_steps=0)
    (events,) = training_job.run(1, 0, options, tmp_path)
    assert events[-1]["weights_sha256"] == found.stdout.split()[-1]
