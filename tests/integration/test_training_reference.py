"""The reference's own gradients, held against differences of its loss."""

from __future__ import annotations

import numpy as np
import pytest
import training_reference
from training import models


@pytest.mark.parametrize("model", ["lenet5", "lenet"])
def test_gradients_are_the_slopes_of_the_loss(model: str) -> None:
    architecture = models.load(model, 10)
    pooling = training_reference.pooling(architecture)
    random = np.random.RandomState(0)
    images = random.uniform(0, 1, (3, architecture.side, architecture.side))
    labels = np.array([1, 7, 7], np.uint8)
    weights = {name: value.astype(np.float64) for name, value in architecture.first_weights(0).items()}
    gradients = training_reference.backward(weights, images, labels, pooling)
    for name, value in weights.items():
        place = tuple(random.randint(0, size) for size in value.shape)
        slopes = []
        for nudge in (1e-6, -1e-6):
            nudged = value.copy()
            nudged[place] += nudge
            slopes.append(training_reference.loss({**weights, name: nudged}, images, labels, pooling))
        slope = (slopes[0] - slopes[1]) / 2e-6
        assert gradients[name][place] == pytest.approx(slope, rel=1e-4, abs=1e-7), name
