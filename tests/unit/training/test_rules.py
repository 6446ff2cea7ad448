"""The rules' arithmetic and the cadence, without any medium."""

from __future__ import annotations

import numpy as np
import pytest
from training.rules import RULES, Cadence
from training.sharding import Shares

SIZES = (20, 44)
RATE = 0.1


def meeting(name: str) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Two workers' values after one meeting, with the first values and the gradients that they had."""
    random = np.random.RandomState(0)
    first = random.standard_normal(6).astype(np.float32)
    gradients = [random.standard_normal(6).astype(np.float32) for _ in SIZES]
    rules = [RULES[name](Shares(SIZES, place), 6) for place in (0, 1)]
    values = [first.copy(), first.copy()]
    offers = []
    for rule, mine, gradient in zip(rules, values, gradients, strict=True):
        scratch = gradient.copy()
        rule.step(mine, scratch, RATE)
        offers.append(rule.offer(mine, scratch).copy())
    for rule, mine in zip(rules, values, strict=True):
        rule.meet(RATE)
        for part in (slice(0, 4), slice(4, 6)):
            rule.merge(mine[part], np.sum([offer[part] for offer in offers], axis=0))
    return values, first, gradients


@pytest.mark.parametrize("name", ["sgd", "average"])
def test_one_meeting_after_one_step_is_the_step_on_all_images(name: str) -> None:
    values, first, gradients = meeting(name)
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_allclose(values[0], first - RATE * sum(gradients) / sum(SIZES), rtol=1e-5, atol=1e-6)


def test_a_cadence_counts_from_the_last_meeting() -> None:
    cadence = Cadence(3)
    assert [cadence.advance(), cadence.advance(), cadence.alone] == [False, False, 2]
    assert cadence.advance()
    cadence.met()
    assert (cadence.advance(), cadence.alone) == (False, 1)
    assert Cadence(1).advance()
