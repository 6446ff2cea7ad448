"""The table of advice against measurements: what counts as a choice, what is left out, and that the published runs hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.advise.costs import stated_costs
from harness.check.estimates import Estimate, Traffic
from harness.paths import REPOSITORY
from harness.virtual.link import Link
from tests.bench.advice import (
    Compared,
    Known,
    Measured,
    best_is_found,
    compared,
    fitted,
    published,
    rows,
    table,
    without_own,
)

RESULTS = REPOSITORY / "docs" / "results"
LINK = Link(100_000_000)


def measured(way: str, seconds: float, model: str = "lenet5", nodes: int = 4) -> Measured:
    return Measured("run", nodes, way, {"model": model}, seconds, 0.1, LINK)


def known(model: str, sent: float, byte_seconds: float) -> Known:
    """Its measured step is what such costs of bytes say: between two nodes links are even."""
    moved = Traffic(meetings=10, sent_bytes=sent, phased_bytes=sent, hides=0, exact=True, one_model=True)
    found = Known(measured("sums", 1.0, model, nodes=2), Estimate(traffic=moved, steps=10))
    costs = replace(stated_costs(), byte_seconds=byte_seconds)
    return replace(found, measured=replace(found.measured, step_seconds=found.expected_seconds(costs)))


def test_a_choice_is_between_three_ways_and_the_best_must_be_among_the_first_two() -> None:
    figures = (("a", 1.0, 3.0), ("b", 2.0, 1.0), ("c", 3.0, 2.0))
    ways = [Compared(measured(name, seconds), expected) for name, seconds, expected in figures]
    assert not best_is_found(ways)
    assert best_is_found([replace(ways[0], expected_seconds=1.5), *ways[1:]])
    pair = [Compared(measured("a", 1.0, nodes=2), 2.0), Compared(measured("b", 2.0, nodes=2), 1.0)]
    errors, found = rows([*ways, *pair], "stated")
    assert found.median == 0
    assert found.note.startswith("0 of 1 choices")
    assert errors.median == pytest.approx(50.0)
    assert (errors.held, found.held) == (False, False)
    (_, none) = rows(pair, "stated")
    assert none.held is None


def test_a_model_is_judged_by_costs_of_the_others() -> None:
    found = [known("a", 1e6, 4e-9), known("a", 2e6, 4e-9), known("b", 1e6, 12e-9)]
    assert fitted(found[:2], stated_costs()).byte_seconds == pytest.approx(4e-9)
    first, _, third = without_own(found, stated_costs())
    # Each is off by what the other model's bytes cost less or more.
    assert first.expected_seconds - first.measured.step_seconds == pytest.approx(8e-9 * 1e6, rel=1e-6)
    assert third.expected_seconds - third.measured.step_seconds == pytest.approx(-8e-9 * 1e6, rel=1e-6)


def test_the_published_runs_hold_the_bars() -> None:
    found = published(RESULTS)
    assert {each.measured.model for each in found} >= {"lenet5", "alexnet"}
    assert "stock" not in {each.measured.way for each in found}  # placed by hand
    stated = compared(found, stated_costs())
    assert all(row.held for row in rows(stated, "stated"))
    assert len(list(table(stated))) == len(found) + 2
    assert np.isfinite([each.error for each in stated]).all()
