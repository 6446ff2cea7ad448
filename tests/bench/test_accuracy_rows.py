"""Time to accuracy in the bench's table, from frames as the analysis gives them."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.bench.accuracy import sooner


def goals(*rows: tuple[int, float, str, float, float, float]) -> pd.DataFrame:
    columns = ["nodes", "accuracy", "policy", "epochs", "seconds", "speedup"]
    return pd.DataFrame(rows, columns=columns).assign(speedup_low=3.0, speedup_high=4.0)


def test_one_node_is_compared_with_all_and_with_the_published_rate() -> None:
    found = goals(
        (1, 0.98, "epochs_1", 1, 100, 1.0), (11, 0.98, "epochs_2", 2, 20, 5.0), (2, 0.98, "epochs_1", 1, 60, 1.7),
        (1, 0.985, "epochs_1", 1, 100, 1.0), (11, 0.985, "epochs_4", 3, 30, 3.4),
    )  # fmt: skip
    first, second, published = sooner(found, 9, 11)
    assert first.values == (5.0,)
    assert first.bar is None
    assert (second.values, second.held) == ((3.4,), False)
    assert "epochs_4 in 3 epochs, 30.0 s" in second.note
    assert published.values[0] == pytest.approx(9 * 3.4)
    assert published.held


def test_a_goal_that_was_not_reached_has_no_figure() -> None:
    rows = list(sooner(goals((1, 0.98, "epochs_1", 1, 100, 1.0)), 9, 11))
    assert [row.median for row in rows] == [None, None]
