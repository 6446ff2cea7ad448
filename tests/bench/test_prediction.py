"""The table's lines on prediction."""

from __future__ import annotations

from typing import Any

from tests.bench.prediction import rows, sizes


def test_sizes_are_powers_of_two_and_all() -> None:
    assert sizes(11) == [1, 2, 4, 8, 11]
    assert sizes(8) == [1, 2, 4, 8]
    assert sizes(1) == [1]


def test_the_worst_left_out_size_counts() -> None:
    held_out: list[dict[str, Any]] = [{"nodes": 2, "error": 0.03}, {"nodes": 8, "error": -0.12}]
    (row,) = rows({"series": [{"series": "allreduce", "held_out": held_out}]})
    assert (row.values, row.held, row.note) == ((12.0,), False, "by nodes 2: 3.0, 8: 12.0")


def test_nothing_left_out_is_not_measured() -> None:
    (row,) = rows({"series": [{"series": "tuned", "held_out": []}]})
    assert (row.median, row.held) == (None, None)
