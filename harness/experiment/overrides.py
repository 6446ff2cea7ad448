"""What the command line changes of an experiment: `--nodes`, `--repeats`, `--set`, `--env`, `--variant`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, validate
from harness.experiment.yaml_file import read_scalar


def with_overrides(
    experiment: Experiment,
    *,
    nodes: str | None = None,
    repeats: int | None = None,
    settings: Sequence[str] = (),
    environment: Sequence[str] = (),
    variants: Sequence[str] = (),
) -> Experiment:
    """Apply the command line: `--nodes`, `--repeats`, `--set name=value[,value...]`, `--env NAME=VALUE`, `--variant`.

    Several values make the parameter an axis. What is set holds for every variant. Raises BadInputError for a name that
    neither the experiment nor its program has, and for values that the program does not take.
    """
    document = experiment.model_dump()
    axes = document["axes"]
    if nodes is not None:
        axes["nodes"] = nodes
    if repeats is not None:
        axes["repeats"] = repeats
    for name, text in _pairs(settings, "--set"):
        values = [read_scalar(part) for part in text.split(",")]
        parameter = (experiment.program_of("").parameters or {}).get(name)
        if parameter and parameter.type == "float" and re.fullmatch(r"0,\d+", text):
            raise BadInputError(
                f"--set {name}={text}: a comma parts several values", f"decimals take a point: {text.replace(',', '.')}"
            )
        _set(experiment, document, name, values)
    document["environment"].update(_pairs(environment, "--env"))
    for label in variants:
        if label not in experiment.variants:
            known = ", ".join(experiment.variants) or "none"
            raise BadInputError(
                f"--variant {label}: experiment '{experiment.name}' has no such variant", f"one of: {known}"
            )
    if variants:
        document["variants"] = {label: document["variants"][label] for label in variants}
        document["policies"] = [label for label in document.get("policies", ()) if label in variants]
    return validate(document, "command line", directory=experiment.directory)


def with_dashboard(experiment: Experiment) -> Experiment:
    """Have the programs of all trials serve their dashboard. Raises BadInputError where one has none."""
    for program in experiment.programs().values():
        if program.dashboard is None:
            raise BadInputError(f"--dashboard: {program.name} has no dashboard", "leave it out")
    return with_overrides(experiment, settings=[f"{experiment.program_of('').dashboard}=true"])


def _set(experiment: Experiment, document: dict[str, Any], name: str, values: list[Any]) -> None:
    described = experiment.program_of("").parameters or {}
    if name not in experiment.parameters and name not in described:
        known = ", ".join(sorted({*experiment.parameters, *described}))
        raise BadInputError(
            f"--set {name}: experiment '{experiment.name}' has no such parameter", f"one of: {known}" if known else ""
        )
    document["axes"].pop(name, None)
    if len(values) == 1:
        document["parameters"][name] = values[0]
    else:
        document["axes"][name] = values
        document["parameters"].setdefault(name, values[0])
    for variant in document["variants"].values():
        variant["parameters"].pop(name, None)


def _pairs(items: Sequence[str], option: str) -> Iterator[tuple[str, str]]:
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            also = ", and no variable of that name is set here" if option == "--env" else ""
            raise BadInputError(f"{option} {item}: not of the form NAME=VALUE{also}", f"for example {option} epochs=4")
        yield name, value
