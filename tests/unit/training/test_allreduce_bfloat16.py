from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from training.kvstores.allreduce import bfloat16

NUMBERS = st.lists(st.floats(width=32, allow_nan=False), max_size=50)


def there_and_back(values: np.ndarray) -> np.ndarray:
    halves = np.zeros(values.shape, np.uint16)
    bfloat16.encode(values, halves)
    return bfloat16.decode(halves)


@given(NUMBERS)
def test_the_answer_is_the_nearest_number_with_eight_bits(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    found = there_and_back(values)
    assert not (found.view(np.uint32) & 0xFFFF).any()
    ordinary = (np.abs(values) < 3e38) & (np.abs(values) > 1e-30)
    np.testing.assert_allclose(found[ordinary], values[ordinary], rtol=2.0**-8, atol=0)
    np.testing.assert_array_equal(there_and_back(found), found)


def test_ties_go_to_even_and_signs_stay() -> None:
    tie_down, tie_up = 1 + 2.0**-8, 1 + 3 * 2.0**-8
    values = np.array([tie_down, tie_up, -tie_down, -0.0, np.inf, -np.inf], np.float32)
    expected = np.array([1, 1 + 2.0**-6, -1, -0.0, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(there_and_back(values).view(np.uint32), expected.view(np.uint32))
