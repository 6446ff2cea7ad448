"""Changes as 8-bit numbers: what one rounding leaves out is in the next."""

from __future__ import annotations

import numpy as np
from training.online.coding import Coder, decoded
from training.online.sharing import INT8, meeting_bytes


def test_nothing_is_lost_over_time() -> None:
    random, coder = np.random.RandomState(0), Coder(1000)
    wanted, sent = np.zeros(1000), np.zeros(1000)
    for _ in range(50):
        change = (random.standard_normal(1000) * random.choice([0.001, 1.0], 1000)).astype(np.float32)
        coded, scale = coder.encode(change)
        assert coded.dtype == np.int8
        wanted += change
        sent += decoded(coded, scale)
        assert np.abs(sent - wanted).max() <= 0.51 * scale  # of the last one alone
    assert np.abs(change).max() / scale > 100


def test_nothing_to_send_is_nothing() -> None:
    coder = Coder(3)
    coded, scale = coder.encode(np.zeros(3, np.float32))
    assert not coded.any()
    assert not decoded(coded, scale).any()


def test_a_change_that_is_not_finite_shows() -> None:
    for wrong in (np.nan, np.inf):
        coder = Coder(2)
        coded, scale = coder.encode(np.array([wrong, 1], np.float32))
        with np.errstate(invalid="ignore"):
            assert not np.isfinite(decoded(coded, scale)).any()
        coded, scale = coder.encode(np.array([127, 1], np.float32))  # nothing of it is in the next
        np.testing.assert_array_equal(decoded(coded, scale), [127, 1])


def test_a_meeting_costs_a_quarter() -> None:
    assert meeting_bytes(61_706, 5, INT8) < 0.251 * meeting_bytes(61_706, 5)
