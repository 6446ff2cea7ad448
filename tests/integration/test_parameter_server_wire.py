"""What MXNet's workers send to its servers: how it is spread over them, and 2-bit compression of it."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import training_job
import training_reference
from training import datasets, models
from training.kvstores.parameter_server.server_shards import BOUND, in_key_order, server_loads

pytestmark = pytest.mark.mxnet

FLOAT_BYTES = 4
STEPS = 5
BATCH = 12
MODELS = ("lenet5", "lenet")  # how the larger ones are spread is compared without training: test_server_shards.py
# ps-lite's own account of a message, with PS_VERBOSE=2: to whom, and the bytes of keys, values and lengths. Threads may tear
# each other's lines, so a few are missing, more on a busy machine.
SENT = re.compile(r"\? => (\d+)\. Meta: request=1.* push=1.*Body:((?: data_size=\d+){3,})")
TORN = 0.05
METRICS_BYTES = 24  # pushed once an epoch

Pushes = Counter[tuple[int, int]]
"""How often workers pushed so many bytes of values to a server: by server (from 0) and bytes."""
Compressed = tuple[Path, list[list[training_job.Event]], Pushes]


def run(
    directory: Path, workers: int, servers: int, *options: str, **environment: str
) -> tuple[list[list[training_job.Event]], Pushes]:
    """A short run; events of every worker, and the workers' pushes."""
    arguments = ["--dataset", "digits", "--batch-size", str(BATCH), *options]
    with training_job.trial(workers, servers, arguments, directory, PS_VERBOSE="2", **environment) as ranks:
        with ThreadPoolExecutor(len(ranks)) as readers:  # at the same time: a full pipe would stop a rank
            outputs = list(readers.map(lambda rank: rank.communicate(timeout=training_job.LIMIT_SECONDS), ranks))
        assert [rank.returncode for rank in ranks] == [0] * len(ranks), outputs[-1][1][-2000:]
    pushed: Pushes = Counter()
    for _, log in outputs[-workers:]:
        for receiver, sizes in SENT.findall(log):
            pushed[(int(receiver) - 8) // 2, int(sizes.split("data_size=")[2])] += 1
    return [training_job.events(output) for output, _ in outputs[-workers:]], pushed


@pytest.mark.parametrize("model", MODELS)
def test_arrays_are_spread_over_servers_as_predicted(tmp_path: Path, model: str) -> None:
    options = ("--model", model, "--epochs", "1", "--limit", str(STEPS * BATCH), "--no-validation")
    ((ready, *_),), pushed = run(tmp_path, 1, 4, *options)
    loads = server_loads(in_key_order(models.load(model, 10).sizes()), 4, int(ready["environment"][BOUND]))
    pushes = STEPS + 1  # first values, then gradients
    for server, load in enumerate(loads):
        arrays = [size * ceil(count / pushes) for (receiver, size), count in pushed.items() if receiver == server]
        assert sum(arrays) == pytest.approx(load * FLOAT_BYTES, abs=METRICS_BYTES)
    messages = sum(ceil(count / pushes) * pushes for (_, size), count in pushed.items() if size > METRICS_BYTES)
    assert sum(count for (_, size), count in pushed.items() if size > METRICS_BYTES) >= (1 - TORN) * messages


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    """Three epochs of two workers, gradients in two bits."""
    directory = tmp_path_factory.mktemp("compressed")
    options = ("--wire", "2bit", "--epochs", "3", "--save-weights", str(directory / "weights.npz"))
    events, pushed = run(directory, 2, 2, *options)
    return directory / "weights.npz", events, pushed


def test_workers_with_two_bit_gradients_learn_one_model(compressed: Compressed) -> None:
    _, ranks, _ = compressed
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    first, *_, last = ranks[0][1:-1]
    assert last["train_loss"] < first["train_loss"] / 2
    assert last["validation_accuracy"] > 0.8


def test_metrics_do_not_pass_through_two_bits(compressed: Compressed) -> None:
    """The last epoch's right answers and loss, counted again from the weights."""
    path, ranks, _ = compressed
    split = datasets.load("digits", Path("unused"), None).validation.enlarged(models.load("lenet5", 10).side)
    with np.load(path) as found:
        weights = {name: found[name].astype(np.float64) for name in found}
    pixels = split.images / datasets.named("digits").deviation
    scores, _ = training_reference.forward(weights, pixels, "avg")
    for events in ranks:
        assert events[3]["validation_accuracy"] == pytest.approx(
            (scores.argmax(axis=1) == split.labels).mean(), abs=1e-9
        )
        loss = training_reference.loss(weights, pixels, split.labels, "avg") / len(split.labels)
        assert events[3]["validation_loss"] == pytest.approx(loss, rel=1e-4)
        for epoch in range(1, 4):
            assert events[epoch]["train_accuracy"] == ranks[0][epoch]["train_accuracy"]
            right = events[epoch]["train_accuracy"] * 2 * events[epoch]["images"]
            assert right == pytest.approx(round(right), abs=1e-6)  # a count


def test_a_push_is_a_sixteenth(compressed: Compressed) -> None:
    _, ranks, pushed = compressed
    parameters = models.load("lenet5", 10).parameters()
    steps = sum(event["steps"] for event in ranks[0][1:-1])
    first_values = parameters * FLOAT_BYTES
    assert sum(size * count for (_, size), count in pushed.items()) == pytest.approx(
        first_values + 2 * steps * parameters / 4, rel=TORN
    )


def test_asynchronous_workers_learn_with_two_bit_gradients(tmp_path: Path) -> None:
    ranks, _ = run(tmp_path, 2, 1, "--kvstore", "dist_async", "--wire", "2bit", "--epochs", "3")
    assert ranks[0][3]["train_accuracy"] == ranks[1][3]["train_accuracy"]
    assert ranks[0][3]["validation_accuracy"] > 0.7
    assert ranks[0][3]["train_loss"] < ranks[0][1]["train_loss"] / 2
