"""Batch normalisation by all workers' images is that of one process with all of them: values, statistics, gradients."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from training import models
from training.engines.normalisation import SharedNormalisation, check
from training.errors import ProgramError
from training.models.layers import Normalisation

EPSILON, KEPT = 1e-3, 0.8


class Together:
    """Workers that are threads, and what each of them tells."""

    def __init__(self, images: tuple[int, ...]) -> None:
        self.images = images
        self._rows: list[np.ndarray] = [np.empty(0)] * len(images)
        self._barrier = threading.Barrier(len(images))

    def of(self, rank: int) -> SimpleNamespace:
        """The gather of one worker."""

        def rows(own: np.ndarray) -> np.ndarray:
            self._rows[rank] = own
            self._barrier.wait(timeout=10)
            found = np.array(self._rows)
            self._barrier.wait(timeout=10)
            return found

        return SimpleNamespace(images=self.images, rows=rows)


def by_definition(
    values: np.ndarray, errors: np.ndarray, scale: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, ...]:
    """What is made of values (images, channels, places); gradients of values, scale and shift (Ioffe and Szegedy, 2015)."""
    count = values.shape[0] * values.shape[2]
    mean = values.mean((0, 2), keepdims=True)
    deviation = np.sqrt(values.var((0, 2), keepdims=True) + EPSILON)
    normal = (values - mean) / deviation
    column = scale[None, :, None]
    total, with_normal = errors.sum((0, 2), keepdims=True), (errors * normal).sum((0, 2), keepdims=True)
    of_values = column / deviation * (errors - total / count - normal * with_normal / count)
    return normal * column + shift[None, :, None], of_values, with_normal.ravel(), total.ravel()


@pytest.mark.parametrize("places", [(5, 5), ()])
@pytest.mark.parametrize("images", [(7,), (4, 4), (1, 9, 2)])
@pytest.mark.parametrize("unbiased", [False, True])
def test_workers_do_what_one_does_with_all_images(
    images: tuple[int, ...], places: tuple[int, ...], unbiased: bool
) -> None:
    random = np.random.RandomState(0)
    form = (sum(images), 3, *places)
    values = (random.normal(size=form) * 2 + 30).astype(np.float32)  # far from zero: squares alone would lose digits
    errors, scale, shift = (random.normal(size=size).astype(np.float32) for size in (form, 3, 3))
    together = Together(images)
    limits = np.cumsum((0, *images))

    def work(rank: int) -> tuple[np.ndarray, ...]:
        layer = SharedNormalisation(Normalisation(EPSILON, KEPT), form[1:], together.of(rank), unbiased=unbiased)
        own = slice(limits[rank], limits[rank + 1])
        made, of_values = np.empty_like(values[own]), np.empty_like(values[own])
        layer.forward(values[own], scale, shift, made)
        kept = np.zeros(3, np.float32), np.ones(3, np.float32)
        layer.keep(*kept)
        return made, of_values, *layer.backward(values[own], scale, errors[own], of_values), *kept

    with ThreadPoolExecutor(len(images)) as workers:
        found = list(workers.map(work, range(len(images))))
    flat = [array.astype(np.float64).reshape(*form[:2], -1) for array in (values, errors)]
    expected = by_definition(*flat, scale.astype(np.float64), shift.astype(np.float64))
    made, of_values = (np.concatenate([each[part] for each in found]).reshape(flat[0].shape) for part in (0, 1))
    np.testing.assert_allclose(made, expected[0], atol=1e-4)
    np.testing.assert_allclose(of_values, expected[1], atol=1e-4)
    for part in (2, 3):
        np.testing.assert_allclose(sum(each[part] for each in found), expected[part], rtol=1e-4, atol=1e-4)
    mean, variance = flat[0].mean((0, 2)), flat[0].var((0, 2), ddof=int(unbiased))
    for each in found:
        np.testing.assert_allclose(each[4], (1 - KEPT) * mean, rtol=1e-6)
        np.testing.assert_allclose(each[5], KEPT + (1 - KEPT) * variance, rtol=1e-5)
        assert all((each[part] == found[0][part]).all() for part in (4, 5)), "the same bits"


def test_a_model_without_normalisation_has_nothing_to_synchronise() -> None:
    check(models.load("resnet20", 10), {"batch_statistics": "synchronised"})
    check(models.load("lenet5", 10), {"batch_statistics": "local"})
    with pytest.raises(ProgramError, match="lenet5 has no batch normalisation"):
        check(models.load("lenet5", 10), {"batch_statistics": "synchronised"})
