"""From an experiment to the ordered list of trials, each with a stable id. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.columns import DEFAULT_ACCURACIES
from harness.errors import BadInputError
from harness.experiment.declaration import Batches, Experiment, Variant, fit_for_names
from harness.experiment.parameter import Value
from harness.experiment.program import Program, Role


@dataclass(frozen=True)
class Trial:
    """One point of the sweep: the unit that is run, resumed, retried and reported."""

    id: str
    nodes: int
    repeat: int
    variant: str
    program: Program
    parameters: Mapping[str, Value]
    environment: Mapping[str, str]
    batches: Batches = "even"
    accuracies: tuple[float, ...] = DEFAULT_ACCURACIES
    """Fractions of 1 that time is measured to, ascending."""

    @property
    def roles(self) -> dict[str, Role]:
        """The roles that its ranks have, in the order in which they start."""
        return self.program.roles_of(self.parameters)

    @property
    def epochs(self) -> int | None:
        """How many epochs it trains, where its program says."""
        return self._count(self.program.epochs)

    @property
    def batch(self) -> int | None:
        """Images of a worker's step, where its program says."""
        return self._count(self.program.batch)

    @property
    def dataset(self) -> str | None:
        """The data set that it needs, where its program says."""
        name = self.program.dataset and self.program.effective(self.parameters).get(self.program.dataset)
        return str(name) if name else None

    @property
    def seed(self) -> int | None:
        """The seed, where its program has one."""
        return self._count(self.program.seed)

    def _count(self, name: str | None) -> int | None:
        value = self.program.effective(self.parameters).get(name) if name else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def expand(experiment: Experiment) -> list[Trial]:
    """All trials of an experiment.

    Repeats are the outermost axis, so that a drift of the machines spreads over all points instead of falling on the last
    ones, and the variants of one size run next to each other, so that their comparison sees the same conditions. The
    program's seed is raised by one with each repeat.

    Raises BadInputError for parameters that mean nothing with the others' values.
    """
    axes = experiment.axes.parameters
    variants = experiment.variants or {"": Variant()}
    trials = []
    for repeat in range(1, experiment.axes.repeats + 1):
        for nodes in experiment.axes.nodes:
            for point in itertools.product(*axes.values()):
                swept = dict(zip(axes, point, strict=True))
                trials += [
                    _trial(experiment, label, variant, nodes, repeat, swept)
                    for label, variant in variants.items()
                    if variant.nodes is None or nodes in variant.nodes
                ]
    return trials


def _trial(
    experiment: Experiment, label: str, variant: Variant, nodes: int, repeat: int, swept: Mapping[str, Value]
) -> Trial:
    program = experiment.program_of(label)
    parameters: dict[str, Value] = {**experiment.parameters, **variant.parameters, **swept}
    found = program.misplaced(parameters)
    if found:
        name, why = found
        where = f"variant '{label}' of {experiment.name}" if label else experiment.name
        raise BadInputError(
            f"{where}: parameter {name}: {why}", f"leave {name} out, or see harness programs {program.name}"
        )
    seed = parameters.get(program.seed) if program.seed else None
    if program.seed and isinstance(seed, int):
        parameters[program.seed] = seed + repeat - 1
    return Trial(
        id=trial_id(nodes, repeat, label, swept),
        nodes=nodes,
        repeat=repeat,
        variant=label,
        program=program,
        parameters=parameters,
        environment={**experiment.environment, **variant.environment},
        batches=experiment.batches if variant.batches is None else variant.batches,
        accuracies=tuple(experiment.accuracies),
    )


def trial_id(nodes: int, repeat: int, variant: str, swept: Mapping[str, Value]) -> str:
    """A stable id, fit for a file name and for a systemd unit: `n04-r2-stock-batch_size_32`."""
    parts = [f"n{nodes:02d}", f"r{repeat}"]
    if variant:
        parts.append(variant)
    parts += [f"{name}_{value}" for name, value in swept.items()]
    return "-".join(fit_for_names(part) for part in parts)


def remaining(trials: Sequence[Trial], finished: Collection[str]) -> list[Trial]:
    """The trials that still have to run, in order."""
    return [trial for trial in trials if trial.id not in finished]


def arguments(parameters: Mapping[str, Value]) -> list[str]:
    """Parameters as a program's arguments; see `docs/reference/ranks.md`."""
    result: list[str] = []
    for name, value in parameters.items():
        option = name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            result.append(f"--{option}" if value else f"--no-{option}")
        else:
            # One word, so that a value that begins with a dash stays a value.
            result.append(f"--{option}={value}")
    return result


def largest(trials: Iterable[Trial]) -> int:
    """The most nodes that any trial needs."""
    return max((trial.nodes for trial in trials), default=0)
