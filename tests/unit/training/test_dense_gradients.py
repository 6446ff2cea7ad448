from __future__ import annotations

import pytest
from training import models
from training.kvstores.allreduce.dense import chosen, factor_bytes, product_digest, sum_bytes
from training.models import DenseLayer


def megabytes(model: str, workers: int, how: str, batch: int = 64) -> float:
    """What a worker sends a step, all arrays counted, in MB."""
    architecture = models.load(model, 10)
    images = batch * workers
    factored = chosen(architecture.dense_layers(), workers, images, how)
    summed = architecture.parameters() - sum(layer.size for layer in factored)
    factors = sum(factor_bytes(layer, workers, images) for layer in factored)
    return (2 * (workers - 1) / workers * summed * 4 + factors) / 1e6


@pytest.mark.parametrize(
    ("model", "workers", "summed", "chosen_ones"),
    [
        ("lenet5", 2, 0.247, 0.187),
        ("lenet5", 4, 0.370, 0.370),
        ("lenet", 2, 1.72, 0.46),
        ("lenet", 4, 2.59, 1.18),
        ("lenet", 8, 3.02, 2.54),
        ("lenet", 11, 3.14, 3.14),
    ],
)
def test_the_fewer_bytes_are_taken(model: str, workers: int, summed: float, chosen_ones: float) -> None:
    assert megabytes(model, workers, "sum") == pytest.approx(summed, rel=0.01)
    assert megabytes(model, workers, "auto") == pytest.approx(chosen_ones, rel=0.02)
    assert megabytes(model, workers, "auto") <= megabytes(model, workers, "factors")


def test_dense_layers_are_found_with_their_arrays() -> None:
    found = models.load("lenet5", 10).dense_layers()
    assert found[0] == DenseLayer("dense1", 400, 120, ("dense1_weight", "dense1_bias"))
    assert [layer.size for layer in found] == [48_120, 10_164, 850]
    assert sum_bytes(found[0], 2) == 48_120 * 4


def test_nothing_is_chosen_alone_and_everything_where_it_was_asked_for() -> None:
    layers = models.load("lenet", 10).dense_layers()
    assert chosen(layers, 1, 64, "factors") == []
    assert chosen(layers, 11, 704, "factors") == layers
    assert chosen(layers, 2, 2, "sum") == []


def test_the_digest_is_of_layers_images_and_products() -> None:
    layers = models.load("lenet5", 10).dense_layers()
    assert product_digest(layers, 16) == product_digest(layers, 16)
    assert len({product_digest(layers, 16), product_digest(layers, 17), product_digest(layers[1:], 16)}) == 3
