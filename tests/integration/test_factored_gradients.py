"""Dense layers' gradients as their factors, over real sockets on loopback: without an engine, and in the training program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import allreduce_job
import numpy as np
import pytest
import training_job
from training.engines.base import Floats, Memory, Model
from training.engines.layout import Factored
from training.kvstores.allreduce.dense import factor_bytes
from training.kvstores.allreduce.factors import Factors
from training.kvstores.allreduce.links import Links
from training.models import DenseLayer
from training.rules.sgd import Sgd
from training.sharding import Shares

STEPS = 3
RATE = 0.5
LAYERS = (
    DenseLayer("dense1", 30, 7, ("dense1_weight", "dense1_bias")),
    DenseLayer("dense2", 7, 5, ("dense2_weight",)),
    DenseLayer("dense3", 5, 4, ("dense3_weight", "dense3_bias")),
)


class Plain(Memory):
    """An array is its own memory."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def settled(self) -> Floats:
        return self._values


class MadeUp:
    """A model of two parts, the first with one dense layer and the second with two, and with factors that are drawn."""

    def __init__(self, rank: int, images: int) -> None:
        self._rank, self._images = rank, images
        self.step = 0
        self.parameters = []
        for layers in (LAYERS[:1], LAYERS[1:]):
            start, factored = 3, []  # what lies before them is not theirs
            for layer in layers:
                factored.append(Factored(layer, start))
                start += layer.size
            value, gradient = np.ones(start, np.float32), np.zeros(start, np.float32)
            self.parameters.append(SimpleNamespace(value=value, gradient=gradient, factored=factored))

    def memory(self, array: Floats) -> Plain:
        return Plain(array)

    def inputs(self, layer: str) -> Floats:
        return factors(layer, self._rank, self.step, self._images)[0]

    def errors(self, layer: str) -> Floats:
        return factors(layer, self._rank, self.step, self._images)[1]


def factors(name: str, rank: int, step: int, images: int) -> tuple[Floats, Floats]:
    layer = next(layer for layer in LAYERS if layer.name == name)
    random = np.random.RandomState([rank, step, layer.units])
    return tuple(random.standard_normal((images, size)).astype(np.float32) for size in (layer.inputs, layer.units))


def trained(links: Links, sizes: tuple[int, ...], early: bool) -> list[Floats]:
    """Values after some steps; `early` is whether inputs leave when forward is done."""
    shares = Shares(sizes, links.rank)
    model = MadeUp(links.rank, shares.own)
    exchange = Factors(links, 0, cast(Model, model), shares, lambda size: Sgd(shares, size))
    for step in range(STEPS):
        for part in (0, 1):
            exchange.arrive(part)
            model.step = step if part == 0 else model.step
            if early:
                exchange.offer_inputs(part)
        for part in (1, 0):
            exchange.offer_errors(part)
        exchange.update(RATE)
    for part in (0, 1):
        exchange.arrive(part)
    return [parameter.value for parameter in model.parameters]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("sizes", [(8,), (4, 4), (3, 9, 4), (6, 6, 6, 6, 1)])
def test_all_workers_end_with_the_same_bits_of_the_right_values(sizes: tuple[int, ...], early: bool) -> None:
    found = allreduce_job.together(lambda links: trained(links, sizes, early), allreduce_job.seats(len(sizes)))
    for others in found[1:]:
        for mine, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(mine, other)
    for value, layers in zip(found[0], (LAYERS[:1], LAYERS[1:]), strict=True):
        np.testing.assert_array_equal(value[:3], 1)  # not theirs
        expected = np.concatenate([np.ones(3), *(one for layer in layers for one in stepped(layer, sizes))])
        np.testing.assert_allclose(value, expected, atol=2e-5)


def test_bytes_are_what_the_choice_reckons_with() -> None:
    sizes = (3, 9, 4)

    def sent(links: Links) -> int:
        counted = allreduce_job.counted(links)
        trained(links, sizes, early=True)
        return sum(counted)

    found = allreduce_job.together(sent, allreduce_job.seats(3))
    expected = sum(factor_bytes(layer, 3, sum(sizes)) for layer in LAYERS)
    assert sum(found) == pytest.approx(3 * STEPS * expected)


def stepped(layer: DenseLayer, sizes: Sequence[int]) -> list[np.ndarray[Any, Any]]:
    """Weights and bias after the same steps, in float64."""
    weight, bias = np.ones((layer.units, layer.inputs)), np.ones(layer.units)
    for step in range(STEPS):
        for rank, images in enumerate(sizes):
            inputs, errors = (one.astype(np.float64) for one in factors(layer.name, rank, step, images))
            weight -= RATE / sum(sizes) * errors.T @ inputs
            bias -= RATE / sum(sizes) * errors.sum(axis=0)
    return [weight.ravel(), bias][: len(layer.arrays)]


def train(
    directory: Path,
    how: str,
    *,
    workers: int = 2,
    images: int = 32,
    steps: int = 8,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[list[training_job.Event]]:
    """Train MXNet's LeNet for one epoch; `weights.npz` is worker 0's."""
    batch = images // workers
    return training_job.run(
        workers,
        0,
        [
            "--dataset=digits", f"--limit={steps * images}", "--epochs=1", "--model=lenet", "--learning-rate=0.02",
            "--kvstore=allreduce", f"--dense-gradients={how}", f"--batch-size={batch}", "--no-validation",
            f"--save-weights={directory / 'weights.npz'}",
        ],
        directory,
        HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN,
        **environment,
    )  # fmt: skip


def weights(directory: Path) -> dict[str, Floats]:
    with np.load(directory / "weights.npz") as found:
        return dict(found)


@pytest.mark.mxnet
def test_factors_change_nothing_but_the_way(tmp_path: Path) -> None:
    train(tmp_path, "auto", workers=1)
    alone = weights(tmp_path)
    for how, factored in (("sum", None), ("auto", ["dense1"]), ("factors", ["dense1", "dense2"])):
        ranks = train(tmp_path, how)
        assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
        assert {str(events[0].get("factored")) for events in ranks} == {str(factored)}
        for name, value in weights(tmp_path).items():
            np.testing.assert_allclose(value, alone[name], rtol=1e-3, atol=2e-5, err_msg=f"{how} {name}")


@pytest.mark.mxnet
def test_uneven_batches_and_a_threaded_engine(tmp_path: Path) -> None:
    train(tmp_path, "sum", workers=1, images=24, steps=4)
    alone = weights(tmp_path)
    threads = {"MXNET_ENGINE_TYPE": "ThreadedEnginePerDevice", "HARNESS_BATCH_SIZES": "5,11,8"}
    ranks = train(tmp_path, "auto", workers=3, images=24, steps=4, environment=threads)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    assert ranks[0][0]["factored"] == ["dense1"]
    for name, value in weights(tmp_path).items():
        np.testing.assert_allclose(value, alone[name], rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.mxnet
@pytest.mark.parametrize("options", [["--wire=bfloat16"], ["--synchronise-every=2"]])
def test_factors_that_were_asked_for_are_refused_where_they_would_be_other_mathematics(
    tmp_path: Path, options: list[str]
) -> None:
    asked = ["--dataset=digits", "--kvstore=allreduce", "--dense-gradients=factors", *options]
    process = training_job.start(asked, {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert "--dense-gradients auto" in training_job.events(output)[-1]["remedy"]
