"""What-ifs are monotone, and where adding nodes stops paying is where the model says so."""

from __future__ import annotations

import numpy as np
import pytest
from predict_runs import LINK, points

from harness.predict.forecast import forecast
from harness.predict.measurements import Measured
from harness.predict.model import Traffic
from harness.predict.question import Question

SIZES = tuple(range(1, 65))


def measured(**changes: object) -> Measured:
    return Measured("dist_sync", False, tuple(points((1, 2, 4, 8, 11), **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_faster_link_never_makes_a_step_longer(noise: float) -> None:
    seconds = [
        forecast(measured(noise=noise), LINK, Question(SIZES, link_bits_per_second=rate)).scenarios[1]
        for rate in (10e6, 100e6, 1e9, 10e9)
    ]
    for part in ("value", "low", "high"):
        steps = np.array([[getattr(row.seconds, part) for row in scenario.rows] for scenario in seconds])
        assert np.all(np.diff(steps, axis=0) <= 1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_larger_batch_never_makes_fewer_images_a_second(noise: float) -> None:
    rates = [
        forecast(measured(noise=noise), LINK, Question(SIZES, batch=batch)).scenarios[2] for batch in (8, 64, 256, 4096)
    ]
    for part in ("value", "low", "high"):
        images = np.array([[getattr(row.images_per_second, part) for row in scenario.rows] for scenario in rates])
        assert np.all(np.diff(images, axis=0) >= -1e-9)


def test_the_measured_link_and_batch_change_nothing() -> None:
    base, link, batch, both = forecast(measured(), LINK, Question(SIZES, LINK, 64)).scenarios
    assert base.rows[10].seconds == link.rows[10].seconds == batch.rows[10].seconds == both.rows[10].seconds


def test_measured_and_predicted_sizes_are_told_apart() -> None:
    base, *others = forecast(measured(), LINK, Question(SIZES)).scenarios
    assert [row.nodes for row in base.rows if row.measured_seconds is not None] == [1, 2, 4, 8, 11]
    assert all(row.measured_seconds is None for scenario in others for row in scenario.rows)


def test_perfect_scaling_pays_at_every_size() -> None:
    alone = measured(costs=(1e-3, 0, 0, 0, 0, 0), traffic=Traffic())
    base = forecast(alone, LINK, Question(SIZES)).scenarios[0]
    assert base.worthwhile.value == base.fastest == 64
    assert base.rows[-1].speedup.value == pytest.approx(64, rel=0.01)


def test_nodes_stop_paying_where_the_last_adds_less_than_the_threshold() -> None:
    # A step of 64 + 2 (n - 1) ms: the speed-up is 64 n / (62 + 2 n), its growth from n - 1 to n is known.
    costs = (1e-3, 0, 0, 2e-3, 0, 0)
    made = measured(costs=costs, traffic=Traffic())
    speedup = np.array([64 * n / (62 + 2 * n) for n in SIZES])
    for threshold in (0.25, 0.5, 0.75):
        base = forecast(made, LINK, Question(SIZES, threshold=threshold)).scenarios[0]
        assert base.worthwhile.value == 1 + int(np.sum(np.diff(speedup) >= threshold))
        assert base.rows[3].gain == pytest.approx(speedup[4] - speedup[3], rel=0.02)


def test_a_cluster_that_slows_down_is_fastest_alone() -> None:
    costs = (1e-3, 0, 0, 200e-3, 0, 0)
    base = forecast(measured(costs=costs, traffic=Traffic()), LINK, Question(SIZES)).scenarios[0]
    assert base.worthwhile.value == 0
    assert base.fastest == 1


def test_without_a_link_only_the_batch_can_be_changed() -> None:
    found = forecast(measured(), None, Question(SIZES))
    assert [scenario.name for scenario in found.scenarios] == ["as measured", "batch 256"]
    assert "not known" in found.notes[0]


def test_a_link_that_the_steps_outrun_is_doubted() -> None:
    found = forecast(measured(), LINK / 10, Question(SIZES))
    assert any("is the measured link's rate right" in note for note in found.notes)


def test_a_cluster_of_nodes_that_differ_is_told_what_is_predicted() -> None:
    assert any("mean node" in note for note in forecast(measured(), LINK, Question(SIZES), mixed=True).notes)
    assert not any("mean node" in note for note in forecast(measured(), LINK, Question(SIZES)).notes)
