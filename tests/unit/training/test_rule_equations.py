"""Every rule against a plain NumPy reference, float64, that follows the paper's equations; all workers in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training.rules import RULES, Rule
from training.rules.common import Descent, Method
from training.sharding import Shares

WORKERS, SIZE, STEPS, EVERY, RATE, IMAGES = 3, 8, 12, 3, 0.05, 4
Array = np.ndarray[Any, np.dtype[Any]]


class Problem:
    """A quadratic loss for each worker: the gradient of its mean is curvature * (x - target)."""

    def __init__(self) -> None:
        random = np.random.RandomState(1)
        self.curvature = random.uniform(0.5, 2.0, (WORKERS, SIZE))
        self.target = random.standard_normal((WORKERS, SIZE))
        self.first = random.standard_normal(SIZE)

    def gradient(self, worker: int, values: Array) -> Array:
        return np.asarray(self.curvature[worker] * (values - self.target[worker]))


PROBLEM = Problem()


def played(name: str, method: Method | None = None, every: int = EVERY, **options: Any) -> tuple[Array, list[Array]]:
    """The shared values and every worker's own after a run, as the allreduce store drives a rule: a slice an owner."""
    shares = [Shares((IMAGES,) * WORKERS, worker) for worker in range(WORKERS)]
    rules: list[Rule] = [RULES[name](each, SIZE, **options) for each in shares]
    first = PROBLEM.first.astype(np.float32)
    own, centres = [first.copy() for _ in rules], [first.copy() for _ in rules]
    for rule, centre in zip(rules, centres, strict=True):
        rule.centre = centre
        rule.descent = Descent(method, rule.state, [slice(0, 5), slice(5, SIZE)])
    limits = [worker * SIZE // WORKERS for worker in range(WORKERS + 1)]
    for step in range(STEPS):
        gradients = [
            (PROBLEM.gradient(worker, values) * IMAGES).astype(np.float32) for worker, values in enumerate(own)
        ]
        for rule, values, gradient in zip(rules, own, gradients, strict=True):
            rule.step(values, gradient, RATE)
        if (step + 1) % every:
            continue
        offers = [
            rule.offer(values, gradient).copy() for rule, values, gradient in zip(rules, own, gradients, strict=True)
        ]
        merged = np.zeros(SIZE, np.float32)
        for worker, rule in enumerate(rules):
            part = slice(limits[worker], limits[worker + 1])
            rule.meet(RATE)
            rule.merge(centres[worker][part], np.sum([offer[part] for offer in offers], axis=0))
            merged[part] = centres[worker][part]
        for rule, centre, values in zip(rules, centres, own, strict=True):
            centre[:] = merged
            rule.accept(values)
            rule.descent.met()
    return centres[0], own


def meetings(between: Callable[[Array], None], meet: Callable[[], None], own: Array) -> None:
    """The references' loop: a step, and after every `EVERY`-th a meeting."""
    for step in range(STEPS):
        between(own)
        if (step + 1) % EVERY == 0:
            meet()


def sgd_steps(own: Array) -> None:
    """Plain SGD on every worker (rows)."""
    for worker in range(WORKERS):
        own[worker] -= RATE * PROBLEM.gradient(worker, own[worker])


def close(found: tuple[Array, list[Array]], shared: Array, own: Array) -> None:
    np.testing.assert_allclose(found[0], shared, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(found[1], own, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_one_worker_with_all_images(momentum: float, nesterov: bool) -> None:
    x, v = PROBLEM.first.copy(), np.zeros(SIZE)
    for _ in range(STEPS):
        g = np.mean([PROBLEM.gradient(worker, x) for worker in range(WORKERS)], axis=0)
        v = momentum * v + g
        x = x - RATE * (g + momentum * v if nesterov else v)
    close(played("sgd", Method(momentum, nesterov), every=1), x, np.stack([x] * WORKERS))


def test_average_is_local_sgd() -> None:
    own = np.stack([PROBLEM.first] * WORKERS)

    def meet() -> None:
        own[:] = own.mean(axis=0)

    meetings(sgd_steps, meet, own)
    close(played("average"), own[0], own)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_inside_a_worker_stays_with_it_or_begins_anew(nesterov: bool, reset: bool) -> None:
    own, v = np.stack([PROBLEM.first] * WORKERS), np.zeros((WORKERS, SIZE))

    def step(own: Array) -> None:
        for worker in range(WORKERS):
            g = PROBLEM.gradient(worker, own[worker])
            v[worker] = 0.9 * v[worker] + g
            own[worker] -= RATE * (g + 0.9 * v[worker] if nesterov else v[worker])

    def meet() -> None:
        own[:] = own.mean(axis=0)
        v[:] *= not reset

    meetings(step, meet, own)
    close(played("average", Method(0.9, nesterov, reset)), own[0], own)


@pytest.mark.parametrize("nesterov", [False, True])
def test_outer_is_slowmo_and_diloco(nesterov: bool) -> None:
    own, centre, m = np.stack([PROBLEM.first] * WORKERS), PROBLEM.first.copy(), np.zeros(SIZE)

    def meet() -> None:
        change = centre - own.mean(axis=0)
        m[:] = 0.6 * m + change
        centre[:] = centre - 0.8 * (change + 0.6 * m if nesterov else m)
        own[:] = centre

    meetings(sgd_steps, meet, own)
    close(played("outer", outer_momentum=0.6, outer_rate=0.8, outer_nesterov=nesterov), centre, own)


def test_outer_without_momentum_at_rate_1_is_average() -> None:
    found = played("outer", outer_momentum=0.0, outer_rate=1.0, outer_nesterov=False)
    close(found, played("average")[0], np.stack(played("average")[1]))


def test_easgd_follows_its_equations() -> None:
    own, centre, beta = np.stack([PROBLEM.first] * WORKERS), PROBLEM.first.copy(), 0.7
    alpha = beta / WORKERS

    def meet() -> None:
        differences = own - centre
        own[:] = own - alpha * differences
        centre[:] = centre + alpha * differences.sum(axis=0)

    meetings(sgd_steps, meet, own)
    close(played("easgd", elasticity=beta), centre, own)


@pytest.mark.parametrize("relaxation", [1.0, 1.6])
def test_admm_follows_its_equations(relaxation: float) -> None:
    own, z, y, rho = np.stack([PROBLEM.first] * WORKERS), PROBLEM.first.copy(), np.zeros((WORKERS, SIZE)), 0.3

    def step(own: Array) -> None:
        """A step down the augmented Lagrangian f(x) + y (x - z) + rho / 2 |x - z|^2."""
        for worker in range(WORKERS):
            penalty = y[worker] + rho * (own[worker] - z)
            own[worker] -= RATE * (PROBLEM.gradient(worker, own[worker]) + penalty)

    def meet() -> None:
        relaxed = relaxation * own + (1 - relaxation) * z
        z[:] = (relaxed + y / rho).mean(axis=0)
        y[:] = y + rho * (relaxed - z)

    meetings(step, meet, own)
    close(played("admm", rho=rho, relaxation=relaxation), z, own)


def test_admm_finds_the_minimum_of_all_although_workers_disagree() -> None:
    """Averaging every so many steps ends beside it; the price makes up for that."""
    best = (PROBLEM.curvature * PROBLEM.target).sum(axis=0) / PROBLEM.curvature.sum(axis=0)
    distances = {}
    for name, options in {"admm": {"rho": 0.3, "relaxation": 1.0}, "average": {}}.items():
        shared, own, u = PROBLEM.first.copy(), np.stack([PROBLEM.first] * WORKERS), np.zeros((WORKERS, SIZE))
        rules = [RULES[name](Shares((1,) * WORKERS, worker), SIZE, **options) for worker in range(WORKERS)]
        values = [row.astype(np.float32) for row in own]
        for rule in rules:
            rule.centre = shared.astype(np.float32)
        for _ in range(300):
            for _ in range(10):
                for worker, rule in enumerate(rules):
                    gradient = PROBLEM.gradient(worker, values[worker]).astype(np.float32)
                    rule.step(values[worker], gradient, 0.1)
            total = np.sum([rule.offer(values[w], u[w].astype(np.float32)) for w, rule in enumerate(rules)], axis=0)
            for worker, rule in enumerate(rules):
                rule.merge(rule.centre, total.copy())
                rule.accept(values[worker])
        distances[name] = float(np.abs(rules[0].centre - best).max())
    assert distances["admm"] < 1e-3 < distances["average"]


@pytest.mark.parametrize(("push", "fetch"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("adagrad", [False, True])
def test_downpour_follows_its_algorithm(push: int, fetch: int, adagrad: bool) -> None:
    """One worker after the other in every step, so the order of pushes is known."""
    options = {"push_every": push, "fetch_every": fetch, "adagrad": adagrad}
    rules = [RULES["downpour"](Shares((IMAGES,) * WORKERS, worker), SIZE, **options) for worker in range(WORKERS)]
    own = [PROBLEM.first.astype(np.float32) for _ in rules]
    server, pushes = PROBLEM.first.astype(np.float32), []
    x, w, accrued = np.stack([PROBLEM.first] * WORKERS), PROBLEM.first.copy(), np.zeros((WORKERS, SIZE))
    expected = []
    for step in range(1, STEPS + 1):
        for worker, rule in enumerate(rules):
            g = PROBLEM.gradient(worker, x[worker])
            x[worker] -= RATE * g
            accrued[worker] += g if adagrad else RATE * g
            gradient = (PROBLEM.gradient(worker, own[worker]) * IMAGES).astype(np.float32)
            rule.step(own[worker], gradient, RATE)
            if step % push == 0:
                expected.append(accrued[worker] / push)
                pushes.append(rule.offer(own[worker], gradient).copy())
                w -= expected[-1]
                rule.merge(server, pushes[-1].copy())
                accrued[worker] = 0
            if step % fetch == 0:
                x[worker], own[worker][:] = w, server
    np.testing.assert_allclose(pushes, expected, rtol=2e-4, atol=2e-5)
    close((server, own), w, x)


def test_a_rules_state_goes_through_a_checkpoint() -> None:
    whole = RULES["outer"](Shares((1,), 0), 4, outer_momentum=0.9, outer_rate=1.0, outer_nesterov=False)
    first = np.ones(4, np.float32)
    whole.merge(first.copy(), np.zeros(4, np.float32))
    other = RULES["outer"](Shares((1,), 0), 4, outer_momentum=0.9, outer_rate=1.0, outer_nesterov=False)
    other.state.restore(whole.state.save())
    values = [first.copy(), first.copy()]
    for rule, mine in zip((whole, other), values, strict=True):
        rule.merge(mine, np.zeros(4, np.float32))
    np.testing.assert_array_equal(*values)
    assert values[0][0] == pytest.approx(1 - 1.9)


# --- a worker's own step ---


def test_weight_decay_draws_values_to_zero() -> None:
    values = np.array([1.0, -2.0], np.float32)
    Descent(Method(weight_decay=0.5))(values, np.zeros(2, np.float32), 0.1, 1)
    np.testing.assert_allclose(values, [0.95, -1.9])


def test_lars_makes_each_arrays_step_as_long_as_its_values_say() -> None:
    values, gradients = np.array([3, 4, 1, 0, 0], np.float32), np.array([0, 200, 0.02, 0, 7], np.float32)
    first = values.copy()
    Descent(Method(lars=0.1), places=[slice(0, 2), slice(2, 3), slice(3, 5)])(values, gradients, 0.5, 1)
    steps = first - values
    np.testing.assert_allclose(steps[:2], [0, 0.5 * 0.1 * 5], rtol=1e-6)
    np.testing.assert_allclose(steps[2], 0.5 * 0.1 * 1, rtol=1e-6)
    np.testing.assert_allclose(steps[3:], [0, 3.5], rtol=1e-6)  # all zeros yet: a plain step


def test_a_plain_step_has_the_bits_of_plain_sgd() -> None:
    random = np.random.RandomState(0)
    values, gradients = (random.standard_normal(50).astype(np.float32) for _ in range(2))
    expected = values - gradients * np.float32(0.1 / 16)
    Descent()(values, gradients, 0.1, 16)
    np.testing.assert_array_equal(values, expected)
