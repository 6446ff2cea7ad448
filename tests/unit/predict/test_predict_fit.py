"""The cost model: its bounds, and that a fit finds again what made the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from predict_runs import COSTS, LINK, TRAFFIC, points

from harness.errors import BadInputError
from harness.predict.equations import MEASURED_SPREAD
from harness.predict.fit import ASSUMED_SPREAD, fit_points, fit_traffic
from harness.predict.model import Conditions, Point, Traffic, step_seconds

ALL_SIZES = range(1, 12)


def array(*values: float) -> np.ndarray:
    return np.array(values)


def test_even_shards_on_every_node_give_the_known_bound_of_the_wire() -> None:
    traffic = Traffic(even_bytes=246_824)
    nodes = array(2, 11)
    assert traffic.phased_bytes(nodes) == pytest.approx(2 * (nodes - 1) / nodes * 246_824)
    assert traffic.busiest_bytes(nodes) == pytest.approx(traffic.phased_bytes(nodes))
    seconds = step_seconds(array(0, 0, 0, 0, 1, 0)[:, None], nodes, traffic, Conditions(64, 11.76e6 * 8))
    assert seconds[1, 0] == pytest.approx(0.038, abs=2e-4)


def test_what_lies_on_one_server_passes_its_link_for_every_worker() -> None:
    traffic = Traffic(whole_bytes=246_824)
    seconds = step_seconds(array(0, 0, 0, 0, 1, 0)[:, None], array(11), traffic, Conditions(64, 11.76e6 * 8))
    assert seconds[0, 0] == pytest.approx(0.420, abs=1e-3)


def test_one_node_sends_nothing() -> None:
    assert TRAFFIC.phased_bytes(array(1))[0] == 0
    assert TRAFFIC.busiest_bytes(array(1))[0] == 0


def test_no_overlap_makes_a_step_shorter_than_its_bytes_take() -> None:
    hidden = step_seconds(array(1e-6, 0, 0, 0, 0, 0)[:, None], array(8), TRAFFIC, Conditions(64, LINK))
    assert hidden[0, 0] == pytest.approx(TRAFFIC.busiest_bytes(array(8))[0] * 8 / LINK)


@pytest.mark.parametrize("servers", [None, 1, 3])
def test_the_placement_of_bytes_is_found_again(servers: int | None) -> None:
    made = Traffic(even_bytes=190e3, whole_bytes=0 if servers == 1 else 60e3, servers=servers)
    found = fit_traffic(points((3, 4, 8, 11), traffic=made))
    assert found.servers == servers
    nodes = array(2, 5, 11, 40)
    assert found.phased_bytes(nodes)[1:] == pytest.approx(made.phased_bytes(nodes)[1:], rel=1e-3)


def test_bytes_of_two_nodes_alone_count_as_placed_evenly() -> None:
    found = fit_traffic(points((1, 2), traffic=Traffic(even_bytes=250e3)))
    assert found.even_bytes == pytest.approx(250e3, rel=1e-3)
    assert found.whole_bytes == pytest.approx(0, abs=250)


@pytest.mark.parametrize("exposed", [0.0, 0.4, 1.0])
def test_a_run_without_noise_is_followed_also_where_nothing_was_measured(exposed: float) -> None:
    # At full overlap the wire must still be quicker than computing, or it is the wire alone that is measured.
    made = (*COSTS[:4], exposed, 0.0)
    fit = fit_points(points(ALL_SIZES, costs=made), LINK)
    nodes, conditions = np.arange(1.0, 25.0), Conditions(64, LINK)
    truth = step_seconds(np.array(made)[:, None], nodes, TRAFFIC, conditions)[:, 0]
    assert fit.seconds(nodes, conditions) == pytest.approx(truth, rel=0.01)
    # Of these sizes all show some of the wire: what hides of it is one with cheaper messages of a group.
    assert fit.costs[[0, 1, 3]] == pytest.approx([made[0], made[1], made[3]], rel=0.02)
    assert fit.costs[4] == pytest.approx(exposed, rel=0.01, abs=0.01)
    assert fit.traffic.even_bytes == pytest.approx(250e3, rel=1e-3)
    assert max(abs(one.error) for one in fit.held_out) < 0.01


def test_what_hides_behind_computing_is_found_where_some_sizes_show_nothing_of_the_wire() -> None:
    made = (100e-3 / 64, 0.0, 8e-3, 1.5e-3, 1.0, 0.25)  # 25 of 100 ms, and two nodes need 20 ms for the wire
    fit = fit_points(points(ALL_SIZES, costs=made), LINK)
    assert fit.costs == pytest.approx(made, rel=0.02)
    assert max(abs(one.error) for one in fit.held_out) < 0.02


def test_what_may_hide_is_left_open_where_the_sizes_do_not_tell() -> None:
    """With as much of the wire hidden at every size, hiding is as plausible as cheaper messages."""
    fit = fit_points(points((1, 2, 4, 8, 11), costs=(*COSTS[:2], 24e-3, *COSTS[3:])), LINK)
    low, high = np.percentile(fit.samples[5], (10, 90))
    assert low == 0
    assert high > 0
    assert max(abs(one.error) for one in fit.held_out if one.nodes > 1) < 0.02


def test_two_batches_tell_a_steps_fixed_cost_from_its_images() -> None:
    made = (1e-3, 20e-3, 8e-3, 1.5e-3, 0.6, 0.0)
    both = [point for batch in (16, 64) for point in points(ALL_SIZES, costs=made, batch=batch)]
    assert fit_points(both, LINK).costs == pytest.approx(made, rel=0.01)


def test_one_batch_counts_a_steps_fixed_cost_as_its_images() -> None:
    fit = fit_points(points(ALL_SIZES, costs=(1e-3, 20e-3, 8e-3, 1.5e-3, 0.6, 0.0)), LINK)
    assert fit.costs[0] == pytest.approx(84e-3 / 64, rel=0.01)
    assert fit.costs[1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_sizes_left_out_of_a_noisy_run_are_predicted(seed: int) -> None:
    fit = fit_points(points(ALL_SIZES, noise=0.02, seed=seed), LINK)
    assert [one.nodes for one in fit.held_out] == list(ALL_SIZES)
    assert [one.nodes for one in fit.held_out if one.outside] == [1, 11]
    errors = [abs(one.error) for one in fit.held_out]
    assert np.mean(errors) < 0.04
    assert max(errors) < 0.10


def test_one_node_is_predicted_where_nothing_tells_computing_from_waiting() -> None:
    made = points(ALL_SIZES, costs=(68e-3 / 64, 0, 0, 1e-3, 0.7, 0))
    untold = [replace(point, own_seconds=None) for point in made]
    for one in fit_points(untold, LINK).held_out:
        assert abs(one.error) < (0.12 if one.outside else 0.06), one


def test_one_node_is_predicted_from_what_others_compute_at_one_speed() -> None:
    # As a prototype measured 1, 4 and 11 nodes: steps, and what of them was not waiting (ms).
    steps, computing = {1: 47.4, 4: 56.4, 11: 61.6}, {1: 47.4, 4: 48.9, 11: 49.2}
    made = [
        Point(n, 64, step / 1e3, computing[n] / 1e3, 2 * (n - 1) / n * 250e3 or None, n) for n, step in steps.items()
    ]
    assert max(abs(one.error) for one in fit_points(made, LINK).held_out) < 0.03


def test_a_size_left_out_is_not_looked_at() -> None:
    made = points(ALL_SIZES)
    spoilt = [
        Point(11, 64, 9.0, own_seconds=9.0, busiest_bytes=9e9, shards=11) if point.nodes == 11 else point
        for point in made
    ]
    of_made, of_spoilt = (
        next(one.predicted_seconds for one in fit_points(each, LINK).held_out if one.nodes == 11)
        for each in (made, spoilt)
    )
    assert of_made == of_spoilt


def test_the_range_holds_the_truth_beyond_the_measured_sizes() -> None:
    conditions, nodes = Conditions(64, LINK), array(16, 24)
    truth = step_seconds(np.array(COSTS)[:, None], nodes, TRAFFIC, conditions)[:, 0]
    held = 0
    for seed in range(20):
        fit = fit_points(points((1, 2, 4, 8, 11), noise=0.03, seed=seed), LINK)
        low, high = np.percentile(fit.sampled_seconds(nodes, conditions), (10, 90), axis=1)
        held += int(np.sum((low <= truth) & (truth <= high)))
    assert held / 40 >= 0.7


def test_ranges_grow_with_the_distance_from_what_was_measured() -> None:
    fit = fit_points(points((1, 2, 4, 8), noise=0.03), LINK)
    low, high = np.percentile(fit.sampled_seconds(array(4, 16, 64), Conditions(64, LINK)), (10, 90), axis=1)
    assert list(np.argsort(high / low)) == [0, 1, 2]


def test_two_sizes_are_fitted_but_nothing_is_held_out() -> None:
    fit = fit_points(points((1, 8)), LINK)
    assert fit.held_out == ()
    assert fit.spread == ASSUMED_SPREAD
    assert fit.seconds(array(8), Conditions(64, LINK))[0] == pytest.approx(points((8,))[0].step_seconds, rel=0.02)


def test_perfect_data_are_still_not_believed_to_the_last_digit() -> None:
    assert fit_points(points(ALL_SIZES), LINK).spread == MEASURED_SPREAD


def test_without_a_link_the_wire_is_part_of_the_message_costs() -> None:
    fit = fit_points(points(ALL_SIZES), None)
    assert max(abs(one.error) for one in fit.held_out if not one.outside) < 0.10


def test_a_share_of_the_message_costs_follows_the_link() -> None:
    fit = fit_points(points(ALL_SIZES, traffic=Traffic()), LINK)
    slow, fast = (fit.seconds(array(8), Conditions(64, rate))[0] for rate in (LINK, 2 * LINK))
    assert slow - fast == pytest.approx((COSTS[2] + 7 * COSTS[3]) / 4, rel=0.02)


def test_nonsense_still_takes_time_and_stays_finite() -> None:
    fit = fit_points([Point(1, 64, 1e-6), Point(2, 64, 50.0, busiest_bytes=1.0, shards=2), Point(3, 64, 1e-5)], LINK)
    seconds = fit.sampled_seconds(array(1, 2, 64), Conditions(64, LINK))
    assert np.all(seconds > 0)
    assert np.all(np.isfinite(seconds))


@pytest.mark.parametrize("sizes", [(), (4,), (4, 4)])
def test_one_size_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match="at least 2 cluster sizes"):
        fit_points(points(sizes), LINK)
