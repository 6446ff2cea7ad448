"""Every kind of layer in both engines, one process: gradients, statistics, validation and dropout."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import layers_reference
import numpy as np
import pytest
import training_job
from training.models.catalogue import architecture

JOB = Path(__file__).with_name("engine_job.py")
BATCH = 16
RATE = 0.1
SEED = 3


def network(dropout: float = 0.0, activation: str = "tanh") -> dict[str, Any]:
    """An entry with every kind of layer. (With relu, differences of the loss meet kinks.)"""
    path = [
        {"convolution": {"filters": 8, "kernel": 3, "stride": 2, "padding": 1, "bias": False}},
        "normalisation",
        {"activation": activation},
        {"convolution": {"filters": 8, "kernel": 3, "padding": 1}},
        {"normalisation": {"epsilon": 1e-3, "momentum": 0.8}},
    ]
    shortcut = [{"convolution": {"filters": 8, "kernel": 1, "stride": 2, "bias": False}}, "normalisation"]
    return {
        "input": {"side": 8, "channels": 1},
        "layers": [
            {"convolution": {"filters": 4, "kernel": 3, "padding": 1}},
            {"activation": "sigmoid"},
            {"convolution": {"filters": 4, "kernel": 3, "padding": 1, "bias": False}},
            "normalisation",
            {"activation": activation},
            {"residual": {"layers": path, "shortcut": shortcut}},
            {"residual": {"layers": [{"convolution": {"filters": 8, "kernel": 3, "padding": 1}}]}},
            {"convolution": {"filters": 16, "kernel": 3, "padding": 1, "groups": 8}},
            {"activation": "relu6"},
            {
                "concatenation": [
                    [{"convolution": {"filters": 4, "kernel": 1}}],
                    [{"convolution": {"filters": 6, "kernel": 3, "padding": 1, "groups": 2}}],
                    [],
                ]
            },
            {"normalisation": {"affine": False}},
            {"widening": 28},
            {"pooling": {"kind": "average", "size": 3, "stride": 1, "padding": 1}},
            {"pooling": {"kind": "max", "size": 3, "stride": 2, "rounding": "up"}},
            {"pooling": {"kind": "average", "size": "all"}},
            "flatten",
            {"dropout": dropout},
            {"dense": 12},
            "normalisation",
            {"activation": activation},
            {"dense": {"units": "classes"}},
        ],
    }


@pytest.fixture(params=training_job.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def trained(directory: Path, engine: str, entry: dict[str, Any], **asked: object) -> dict[str, np.ndarray]:
    """What a run of `engine_job` wrote."""
    python = training_job.python_of(engine)
    out = directory / "out.npz"
    job = {"engine": engine, "entry": entry, "steps": 1, "seed": SEED, "rate": RATE, "out": str(out), **asked}
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "HARNESS_"))}
    found = subprocess.run(
        [python, str(JOB), json.dumps(job)], env={**own, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=training_job.LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert not found.returncode, found.stderr
    with np.load(out) as arrays:
        return dict(arrays)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """The job's first batch."""
    random = np.random.RandomState(1)
    images = random.randint(0, 256, (48, 8, 8)).astype(np.uint8)
    return images[:BATCH] / 64.0, random.randint(0, 10, 48).astype(np.uint8)[:BATCH]


def test_a_step_goes_against_the_slopes_of_the_loss(tmp_path: Path, engine: str) -> None:
    model = architecture("small", network(), 10)
    found = trained(tmp_path, engine, network())
    first = {name: value.astype(np.float64) for name, value in model.first_weights(SEED).items()}
    reference = layers_reference.Reference(model, training=True)
    images, labels = batch()
    assert found["losses"][0][0] == pytest.approx(reference.losses(first, images, labels).sum(), rel=1e-5)
    random = np.random.RandomState(0)
    for name, value in first.items():
        place = tuple(random.randint(0, size) for size in value.shape)
        slopes = []
        for nudge in (1e-5, -1e-5):
            nudged = value.copy()
            nudged[place] += nudge
            slopes.append(reference.losses({**first, name: nudged}, images, labels).sum())
        slope = (slopes[0] - slopes[1]) / 2e-5
        stepped = (value[place] - found[name][place]) * BATCH / RATE
        assert stepped == pytest.approx(slope, rel=2e-3, abs=2e-3), name


def test_statistics_move_by_what_a_batch_shows_and_validation_uses_them(tmp_path: Path, engine: str) -> None:
    model = architecture("small", network(), 10)
    found = trained(tmp_path, engine, network())
    reference = layers_reference.Reference(model, training=True)
    images, labels = batch()
    first = {name: value.astype(np.float64) for name, value in model.first_weights(SEED).items()}
    reference.losses(first, images, labels)
    kept = {"norm3": 0.8}
    for array in model.statistics:
        momentum = kept.get(array.name.split("_")[0], 0.9)
        expected = momentum * (array.kind == "variance") + (1 - momentum) * reference.seen[array.name]
        # PyTorch counts one value less in a variance
        np.testing.assert_allclose(found[array.name], expected, rtol=1e-2, atol=1e-4, err_msg=array.name)
    arrays = {name: value.astype(np.float64) for name, value in found.items()}
    losses = layers_reference.Reference(model, training=False).losses(arrays, images, labels)
    np.testing.assert_allclose(found["scores"][0][:BATCH], losses, rtol=1e-4)
    assert found["scores"].shape == (2, 20)


def test_parts_and_buckets_change_no_number(tmp_path: Path, engine: str) -> None:
    model = architecture("small", network(), 10)
    count = len(model.arrays)
    plain = trained(tmp_path, engine, network(), steps=3)
    for buckets, by_parts in (([count], False), (model.aligned([8, count - 8]), True)):
        cut = trained(tmp_path, engine, network(), steps=3, buckets=buckets, by_parts=by_parts)
        for name, value in plain.items():
            np.testing.assert_allclose(cut[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        assert cut["flat"].size == model.parameters()
        np.testing.assert_array_equal(cut["flat"], np.concatenate([cut[each.name].ravel() for each in model.arrays]))


@pytest.mark.parametrize("options", [{}, {"synchronise_every": 2}])
def test_allreduce_is_the_same_code_on_every_engine(tmp_path: Path, engine: str, options: dict[str, int]) -> None:
    model = architecture("small", network(), 10)
    buckets = model.aligned([8, len(model.arrays) - 8])
    alone = trained(tmp_path, engine, network(), steps=3, buckets=buckets, by_parts=True)
    asked = {"kvstore": "allreduce", "options": options, "buckets": buckets, "by_parts": True}
    found = trained(tmp_path, engine, network(), steps=3, **asked)
    for name, value in alone.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_batch_in_pieces_makes_the_same_step(tmp_path: Path, engine: str) -> None:
    plain = {
        "input": {"side": 8, "channels": 1},
        "layers": [
            {"convolution": {"filters": 4, "kernel": 3}},
            {"activation": "tanh"},
            {"dense": 12},
            {"dense": "classes"},
        ],
    }
    model = architecture("small", plain, 10)
    for store in ({}, {"kvstore": "allreduce", "buckets": model.aligned([2, 4]), "by_parts": True}):
        whole, pieces = (trained(tmp_path, engine, plain, steps=3, accumulate=count, **store) for count in (1, 4))
        for name, value in whole.items():
            np.testing.assert_allclose(pieces[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_model_may_have_more_arrays_than_one_operation_of_mxnet_takes(tmp_path: Path, engine: str) -> None:
    deep = {
        "input": {"side": 8, "channels": 1},
        "layers": [{"sequence": {"times": 34, "layers": [{"dense": 8}, {"activation": "tanh"}]}}, {"dense": "classes"}],
    }
    first = architecture("small", deep, 10).first_weights(SEED)
    found = trained(tmp_path, engine, deep)
    assert len(first) == 70
    assert all((found[name] != value).any() for name, value in first.items())


def test_dropout_follows_its_seed_and_leaves_validation_alone(tmp_path: Path, engine: str) -> None:
    # values stay where they begin, so that losses of the same images differ by what is dropped alone
    once, again, without = (trained(tmp_path, engine, network(rate), steps=4, rate=1e-9) for rate in (0.5, 0.5, 0.0))
    np.testing.assert_array_equal(once["losses"], again["losses"])
    assert once["losses"][0, 0] != once["losses"][3, 0]
    assert without["losses"][0, 0] == pytest.approx(without["losses"][3, 0], rel=1e-5)
    assert once["losses"][:, 0].mean() == pytest.approx(without["losses"][:, 0].mean(), rel=0.5)
    arrays = {name: value.astype(np.float64) for name, value in once.items()}
    images, labels = batch()
    losses = layers_reference.Reference(architecture("small", network(0.5), 10), training=False).losses(
        arrays, images, labels
    )
    np.testing.assert_allclose(once["scores"][0][:BATCH], losses, rtol=1e-4)


def test_a_network_with_every_kind_of_layer_learns(tmp_path: Path, engine: str) -> None:
    found = trained(tmp_path, engine, network(0.1, "relu"), steps=240)["losses"][:, 0]
    assert found[-3:].mean() < found[:3].mean() / 3
