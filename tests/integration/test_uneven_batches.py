"""Workers that share global batches unevenly, on real MXNet: the same weights as one process with all the images."""

from __future__ import annotations

from pathlib import Path

import allreduce_job
import numpy as np
import pytest
import training_job
import training_reference
from training import datasets, models, sharding

pytestmark = pytest.mark.mxnet

IMAGES = 250  # three global batches and a remainder
EPOCHS = 2
STEPS = IMAGES // 64
SEED = 3
RATE = 0.1
SIZES = (20, 44)


def run(directory: Path, *options: str, servers: int = 0, sizes: str = "20,44") -> list[list[training_job.Event]]:
    """Two workers, 64 images together a step; weights in weights.npz."""
    chosen = {
        "dataset": "digits", "limit": IMAGES, "epochs": EPOCHS, "learning-rate": RATE, "seed": SEED, "batch-size": 32,
        "save-weights": directory / "weights.npz",
    }  # fmt: skip
    arguments = [*(f"--{name}={value}" for name, value in chosen.items()), *options]
    shared = {"HARNESS_BATCH_SIZES": sizes} if sizes else {}
    return training_job.run(2, servers, arguments, directory, HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN, **shared)


def weights(directory: Path) -> dict[str, np.ndarray]:
    with np.load(directory / "weights.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def images() -> datasets.Split:
    return datasets.load("digits", Path("unused"), IMAGES).train.enlarged(models.load("lenet5", 10).side)


def gradients(values: dict[str, np.ndarray], split: datasets.Split, chosen: np.ndarray) -> dict[str, np.ndarray]:
    pixels = split.images[chosen] / datasets.named("digits").deviation
    return training_reference.backward(values, pixels, split.labels[chosen], "avg")


def first_weights() -> dict[str, np.ndarray]:
    found = models.load("lenet5", 10).first_weights(SEED)
    return {name: value.astype(np.float64) for name, value in found.items()}


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], loosely: float = 1) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3 * loosely, atol=2e-5 * loosely, err_msg=name)


@pytest.mark.parametrize(
    ("store", "servers", "loosely"),
    [("dist_sync", 2, 1), ("allreduce", 0, 1), ("allreduce --wire=bfloat16", 0, 100)],
)
def test_the_same_weights_as_one_process_and_as_even_batches(
    tmp_path: Path, images: datasets.Split, store: str, servers: int, loosely: float
) -> None:
    options = f"--kvstore={store}".split()
    uneven = run(tmp_path, *options, servers=servers)
    found = weights(tmp_path)
    expected = training_reference.train(
        first_weights(), images.images, images.labels, deviation=datasets.named("digits").deviation, side=32, pooling="avg",
        batch=64, rates=[RATE] * STEPS * EPOCHS, epochs=EPOCHS, seed=SEED,
    )  # fmt: skip
    assert_close(found, expected, loosely)
    assert len({events[-1]["weights_sha256"] for events in uneven}) == 1
    assert sorted(events[1]["images"] for events in uneven) == [20 * STEPS, 44 * STEPS]
    assert {events[1]["steps"] for events in uneven} == {STEPS}

    even = run(tmp_path, *options, servers=servers, sizes="")
    assert_close(weights(tmp_path), found, loosely)
    for name in ("train_accuracy", "validation_accuracy"):
        assert uneven[0][-2][name] == pytest.approx(even[0][-2][name], abs=0.01)


def test_averages_of_values_weigh_by_images(tmp_path: Path, images: datasets.Split) -> None:
    """Local SGD: every worker steps by its own mean gradient; values are averaged after two steps and at an epoch's end."""
    run(tmp_path, "--kvstore=allreduce", "--synchronise-every=2")
    values = first_weights()
    for epoch in range(1, EPOCHS + 1):
        shards = [sharding.epoch_shard(IMAGES, sharding.Shares(SIZES, n), seed=SEED, epoch=epoch) for n in (0, 1)]
        alone = [values, values]
        for step in range(STEPS):
            for worker, shard in enumerate(shards):
                found = gradients(alone[worker], images, shard[step])
                scale = RATE / SIZES[worker]
                alone[worker] = {name: value - scale * found[name] for name, value in alone[worker].items()}
            if step in (1, STEPS - 1):
                mean = {name: (20 * alone[0][name] + 44 * alone[1][name]) / 64 for name in values}
                alone = [mean, mean]
        values = alone[0]
    assert_close(weights(tmp_path), values)


def test_asynchronous_steps_weigh_by_images(tmp_path: Path, images: datasets.Split) -> None:
    """With a low rate, steps add up in any order. Worker 0 ends with its own and, of each array, what the other had made."""
    run(tmp_path, "--kvstore=dist_async", "--learning-rate=1e-3", "--epochs=1", servers=1)
    values, found = first_weights(), weights(tmp_path)
    steps = [
        [
            gradients(values, images, batch)
            for batch in sharding.epoch_shard(IMAGES, sharding.Shares(SIZES, place), seed=SEED, epoch=1)
        ]
        for place in (0, 1)
    ]

    def distance(name: str, own: int) -> float:
        """Of an array's change from the nearest that it can be, relative to it, where worker 0 has that place."""
        change = (values[name] - found[name]) * 32 / 1e-3
        made = [steps[own] + steps[1 - own][:count] for count in range(STEPS + 1)]
        return min(float(np.linalg.norm(change - sum(step[name] for step in each))) for each in made) / float(
            np.linalg.norm(change)
        )

    assert min(max(distance(name, own) for name in values) for own in (0, 1)) < 0.05


def test_independent_workers_step_by_their_own_mean(tmp_path: Path, images: datasets.Split) -> None:
    run(tmp_path, "--kvstore=none", "--epochs=1")
    values = first_weights()
    for batch in sharding.epoch_shard(IMAGES, sharding.Shares(SIZES, 0), seed=SEED, epoch=1):
        found = gradients(values, images, batch)
        values = {name: value - RATE / 20 * found[name] for name, value in values.items()}
    assert_close(weights(tmp_path), values)


def test_batches_that_do_not_fit_end_the_worker_before_it_waits(tmp_path: Path) -> None:
    environment = {"HARNESS_WORLD_SIZE": "2", "HARNESS_RANK": "0", "HARNESS_BATCH_SIZES": "20,45"}
    process = training_job.start(["--batch-size=32", "--kvstore=dist_sync"], environment, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert "HARNESS_BATCH_SIZES=20,45" in training_job.events(output)[-1]["message"]
