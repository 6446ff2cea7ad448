"""What `--wire` and `--threshold` ask for, and exact numbers through 2-bit compression."""

from __future__ import annotations

import numpy as np
import pytest
from training import engines, kvstores
from training.errors import ProgramError
from training.kvstores import KVStoreOptions
from training.kvstores.parameter_server import two_bit


def test_values_in_places_of_their_own_add_up_exactly() -> None:
    values = np.array([[1e-300, 0.1, 2**60 + 1.0], [-3.5, 0.2, 12.0], [0.0, np.pi, -1e300]])
    arrived = sum(two_bit.bits_of(mine, place, 3).astype(int) for place, mine in enumerate(values))
    assert set(np.unique(arrived)) <= {0, 1}
    np.testing.assert_array_equal(two_bit.sum_of(arrived > 0, 3), values.sum(axis=0))


def test_what_is_no_number_stays_none() -> None:
    bits = two_bit.bits_of(np.array([np.nan, np.inf]), 0, 1)
    np.testing.assert_array_equal(two_bit.sum_of(bits > 0, 1), [np.nan, np.inf])


def test_the_threshold_is_scaled_as_the_pushed_gradients_are() -> None:
    assert two_bit.pushed_threshold("dist_sync", 0.01, batch_size=64, rate=0.05) == pytest.approx(0.64)
    assert two_bit.pushed_threshold("dist_async", 0.01, batch_size=64, rate=0.05) == pytest.approx(0.0005)
    # MXNet tells its servers six decimals: worker and server must mean the same number
    assert two_bit.pushed_threshold("dist_async", 1 / 3, batch_size=64, rate=1.0) == 0.333333


def test_a_threshold_that_servers_would_read_as_0_is_refused() -> None:
    with pytest.raises(ProgramError, match="threshold 1e-05 is too small"):
        two_bit.pushed_threshold("dist_async", 0.00001, batch_size=64, rate=0.01)


@pytest.mark.parametrize(
    ("store", "options", "says", "remedy"),
    [
        ("allreduce", KVStoreOptions(wire="2bit"), "allreduce does not exchange 2bit", "dist_sync or dist_async"),
        ("none", KVStoreOptions(wire="2bit"), "none does not exchange 2bit", "dist_sync or dist_async"),
        ("dist_sync", KVStoreOptions(wire="bfloat16"), "dist_sync does not exchange bfloat16", "--kvstore allreduce"),
        (
            "dist_async",
            KVStoreOptions(synchronise_every=10),
            "dist_async exchanges in every step",
            "--kvstore allreduce",
        ),
        (
            "dist_sync",
            KVStoreOptions(synchronise_every=10, wire="2bit"),
            "dist_sync exchanges in every step",
            "--kvstore allreduce",
        ),
        ("dist_sync", KVStoreOptions(threshold=0.1), "float32 has no threshold", "--wire 2bit"),
        ("allreduce", KVStoreOptions(wire="bfloat16", threshold=0.1), "bfloat16 has no threshold", "--wire 2bit"),
    ],
)
def test_what_a_store_has_not_is_refused_with_what_has_it(
    store: str, options: KVStoreOptions, says: str, remedy: str
) -> None:
    with pytest.raises(ProgramError, match=says) as raised:
        kvstores.open_kvstore(store, options, batch_size=64, rate=0.05)
    assert remedy in raised.value.remedy


def test_every_store_exchanges_float32_in_every_step() -> None:
    for engine in engines.NAMES:
        for store in kvstores.registered(engine):
            kvstores.check(store, KVStoreOptions(), engine)
