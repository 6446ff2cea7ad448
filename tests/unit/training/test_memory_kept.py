"""What rules and steps keep in memory is what they say, by the allocations that NumPy makes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training import options
from training.memory.kept import Kept, of_factors, of_steps, of_store, of_sums
from training.models import DenseLayer
from training.rules import RULES
from training.rules.common import Descent, Method
from training.sharding import Shares

SIZE = 50_000
SETTINGS: dict[str, dict[str, Any]] = {
    "outer": {"outer_momentum": 0.5, "outer_rate": 1.0, "outer_nesterov": False},
    "easgd": {"elasticity": 0.9},
    "admm": {"rho": 0.1, "relaxation": 1.5},
    "downpour": {"push_every": 1, "fetch_every": 1, "adagrad": False},
}


def buffers_of(work: Callable[[], None]) -> float:
    """The memory that it needs at its most, in buffers of so many float32 values."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / (4 * SIZE)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_has_as_many_arrays_as_it_says(name: str) -> None:
    values, gradients, shared = (np.ones(SIZE, np.float32) for _ in range(3))

    def meet() -> None:
        rule = RULES[name](Shares((4,), 0), SIZE, **SETTINGS.get(name, {}))
        rule.centre = shared
        rule.step(values, gradients, 0.1)
        offered = rule.offer(values, gradients)
        rule.meet(0.1)
        rule.merge(shared, offered)
        rule.accept(values)

    assert buffers_of(meet) == pytest.approx(RULES[name].copies + RULES[name].slice_copies, abs=0.1)


def ask(*arguments: str) -> options.Options:
    return options.parse(["--dataset=patches", "--model=alexnet_32", *arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--momentum=0.9"],
        ["--momentum=0.9", "--nesterov"],
        ["--weight-decay=0.1"],
        ["--momentum=0.9", "--nesterov", "--weight-decay=0.1"],
    ],
)
def test_a_step_needs_as_much_as_its_method_says(arguments: list[str]) -> None:
    values, gradients = (np.ones(SIZE, np.float32) for _ in range(2))
    chosen = ask("--kvstore=none", *arguments)

    def step() -> None:
        descent = Descent(Method.of(chosen.own))
        descent(values, gradients, 0.1, 4)
        descent(values, gradients, 0.1, 4)

    assert buffers_of(step) == pytest.approx(of_steps(1, chosen).most, abs=0.1)


def test_sums_hold_everybodys_numbers_once_and_momentum_lives_with_the_owners() -> None:
    asked = ["--kvstore=allreduce", "--dense-gradients=sum"]
    assert of_sums(600, 3, ask(*asked)) == Kept(600, in_step=200)
    assert of_sums(600, 3, ask(*asked, "--momentum=0.9")) == Kept(800, in_step=200)
    assert of_sums(600, 1, ask(*asked, "--momentum=0.9")) == Kept(600)
    assert of_sums(600, 3, ask(*asked, "--weight-decay=0.1")) == Kept(600, in_step=400)
    assert of_sums(600, 3, ask(*asked, "--wire=bfloat16")) == Kept(600, in_step=800)
    alone = [*asked, "--rule=average", "--meet-every=4", "--momentum=0.9"]  # weighted, shared, velocity, everybody's
    assert of_sums(600, 3, ask(*alone)) == Kept(2400, in_step=200, between=600)


def test_factors_hold_rows_of_all_images_and_the_velocity_of_whole_layers() -> None:
    layer = DenseLayer("dense1", 10, 5, ("w", "b"))
    asked = ["--kvstore=allreduce", "--dense-gradients=factors", "--batch-size=4"]
    assert of_factors([layer], 8, ask(*asked)) == Kept(8 * 15)
    assert of_factors([layer], 8, ask(*asked, "--momentum=0.9")) == Kept(8 * 15 + 55)
    assert of_store(1000, ask(*asked), 2, [layer]) == Kept(945 + 120, in_step=945 / 2)


def test_what_comes_and_goes_is_counted_at_the_worst_moment() -> None:
    assert (Kept(10, in_step=5, between=3) + Kept(1, in_step=2, between=4)).most == 11 + 7
