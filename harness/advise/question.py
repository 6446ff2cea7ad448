"""What is asked of an advice, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.advise.costs import Costs
from harness.advise.curves import Curves
from harness.advise.machines import Given, Machines
from harness.advise.ranking import Option
from harness.experiment.parameter import Value
from harness.experiment.program import Program
from harness.experiment.rates import Rate


@dataclass(frozen=True)
class Question:
    """A program's parameters, the nodes, and a run whose fitted costs are taken (None: stated ones)."""

    program: Program
    subject: Mapping[str, Value]
    values: Mapping[str, Value]
    """All parameters that are given, the subject's too."""
    given: Given
    run: Path | None = None
    measured_link: float | None = None
    accuracy_from: Path | None = None
    """A run whose epochs say how many steps an accuracy takes."""
    target: float | None = None
    """That accuracy, a fraction of 1; None: what the run's report leads with."""


@dataclass(frozen=True)
class Advice:
    """The options, the quickest first, and what they rest on."""

    options: tuple[Option, ...]
    machines: Machines
    batch: int
    """Images of a worker's step."""
    sources: Mapping[str, str]
    """Where the numbers come from: measured, fitted, given, stated, assumed."""
    left_out: Mapping[str, str]
    """Strategies that these parameters do not allow, and why."""
    rates: tuple[Rate, ...]
    """How fast each node computes."""
    costs: Costs
    """What a step costs beside computing and bytes."""
    curves: Curves | None = None
    """How many steps an accuracy takes, where a run says it."""
