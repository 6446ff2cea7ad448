"""From an experiment to the ordered list of trials, each with a stable id."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.experiment import Batches, Experiment, Value, Variant


@dataclass(frozen=True)
class Trial:
    """One point of the sweep: the unit that is run, resumed, retried and reported."""

    id: str
    nodes: int
    repeat: int
    variant: str
    program: str
    parameters: Mapping[str, Value]
    environment: Mapping[str, str]
    servers: Literal["colocated"] | int
    batches: Batches = "even"

    @property
    def server_count(self) -> int:
        """Parameter servers of this trial; none where its store needs none."""
        if not needs_parameter_servers(self.parameters):
            return 0
        return self.nodes if self.servers == "colocated" else int(self.servers)


def needs_parameter_servers(parameters: Mapping[str, Value]) -> bool:
    """Whether a trial starts ps-lite's scheduler and servers: MXNet's `dist_*` stores, and programs that do not say."""
    store = parameters.get("kvstore")
    return store is None or str(store).startswith("dist")


def expand(experiment: Experiment) -> list[Trial]:
    """All trials of an experiment.

    Repeats are the outermost axis, so that a drift of the machines spreads over all points instead of falling on the last
    ones, and the variants of one size run next to each other, so that their comparison sees the same conditions. A `seed`
    parameter is raised by one with each repeat.
    """
    axes = experiment.axes.parameters
    variants = experiment.variants or {"": Variant()}
    trials = []
    for repeat in range(1, experiment.axes.repeats + 1):
        for nodes in experiment.axes.nodes:
            for point in itertools.product(*axes.values()):
                swept = dict(zip(axes, point, strict=True))
                trials += [
                    _trial(experiment, label, variant, nodes, repeat, swept) for label, variant in variants.items()
                ]
    return trials


def _trial(
    experiment: Experiment, label: str, variant: Variant, nodes: int, repeat: int, swept: Mapping[str, Value]
) -> Trial:
    parameters: dict[str, Value] = {**experiment.parameters, **variant.parameters, **swept}
    seed = parameters.get("seed")
    if isinstance(seed, int):
        parameters["seed"] = seed + repeat - 1
    return Trial(
        id=trial_id(nodes, repeat, label, swept),
        nodes=nodes,
        repeat=repeat,
        variant=label,
        program=variant.program or experiment.program,
        parameters=parameters,
        environment={**experiment.environment, **variant.environment},
        servers=experiment.servers if variant.servers is None else variant.servers,
        batches=experiment.batches if variant.batches is None else variant.batches,
    )


def trial_id(nodes: int, repeat: int, variant: str, swept: Mapping[str, Value]) -> str:
    """A stable id, fit for a file name and for a systemd unit: `n04-r2-stock-batch_size_32`."""
    parts = [f"n{nodes:02d}", f"r{repeat}"]
    if variant:
        parts.append(variant)
    parts += [f"{name}_{value}" for name, value in swept.items()]
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in parts)


def remaining(trials: Sequence[Trial], finished: Collection[str]) -> list[Trial]:
    """The trials that still have to run, in order."""
    return [trial for trial in trials if trial.id not in finished]


def arguments(parameters: Mapping[str, Value]) -> list[str]:
    """Parameters as a program's arguments; see `docs/design.md`, A rank."""
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
