"""What is published can be asked for: names, variants, figures and profiles are there."""

from __future__ import annotations

import pytest

from harness.experiment.declaration import load_experiment
from harness.paths import REPOSITORY
from harness.report import figures
from harness.virtual.cpu.profile import board_of
from tests.bench.published import HALF_PI3, SETS, Sweep

SWEEPS = [sweep for sweeps in SETS.values() for sweep in sweeps(11)]
FIGURES = {kind.stem for kind in figures.KINDS} | {"prediction", "accuracy_by_cost", "worlds", "shares"}


def test_names_are_different() -> None:
    assert len({sweep.name for sweep in SWEEPS}) == len(SWEEPS)


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.name)
def test_a_sweep_names_what_there_is(sweep: Sweep) -> None:
    declared = load_experiment(sweep.experiment)
    words = dict.fromkeys(
        word for flag, word in zip(sweep.arguments, sweep.arguments[1:], strict=False) if flag == "--variant"
    )
    assert words.keys() <= declared.variants.keys()
    assert set(sweep.figures) <= FIGURES


def test_the_slow_pi_is_half_a_pi() -> None:
    half, whole = board_of(str(REPOSITORY / HALF_PI3)), board_of("pi3")
    assert half
    assert whole
    assert half.conv_gflops == whole.conv_gflops / 2
