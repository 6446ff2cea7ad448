"""The experiment: a YAML declaration of a program, its parameters and the axes to sweep."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.columns import trial_columns
from harness.errors import BadInputError

Value = bool | int | float | str | None
Batches = Literal["even", "by_rate"]
"""How the workers share a global batch: evenly, or so that nodes of unlike speed are done at the same moment."""

# Columns that every trials.csv has; a parameter of the same name would be ambiguous there.
RESERVED_PARAMETERS = frozenset({*trial_columns(()), "repeats", "rank"})

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def parse_counts(text: str | int | Sequence[int | str]) -> list[int]:
    """Turn `4`, `"1-4"`, `"1,2,4-6"` or a list of these into a sorted list of distinct positive counts.

    Raises ValueError that names the part that is not a count.
    """
    parts = [text] if isinstance(text, int) else text.split(",") if isinstance(text, str) else list(text)
    counts: set[int] = set()
    for part in parts:
        if isinstance(part, bool):
            raise ValueError(f"{part!r} is not a count")
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", str(part))
        if not match:
            raise ValueError(f"{part!r} is neither a count (4) nor a range (1-4)")
        first, last = int(match[1]), int(match[2] or match[1])
        if first < 1 or last < first:
            raise ValueError(f"{part!r} must count upwards from 1")
        counts.update(range(first, last + 1))
    if not counts:
        raise ValueError("at least one count is needed")
    return sorted(counts)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Axes(_Strict):
    """What is swept: cluster sizes, repeats, and any parameter with its values."""

    model_config = ConfigDict(extra="allow", frozen=True)

    nodes: Annotated[list[int], BeforeValidator(parse_counts)] = [1]
    repeats: Annotated[int, Field(ge=1, strict=True)] = 1

    @property
    def parameters(self) -> dict[str, list[Value]]:
        """The swept parameters, each with its values."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _extra_axes_are_lists(self) -> Axes:
        for name, values in (self.model_extra or {}).items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"axis '{name}' needs a list of values")
        return self


class Variant(_Strict):
    """A named alternative of the experiment, for example a baseline: what differs, and nothing else."""

    program: str | None = None
    parameters: dict[str, Value] = {}
    environment: dict[str, str] = {}
    servers: Literal["colocated"] | Annotated[int, Field(ge=0)] | None = None
    batches: Batches | None = None


class Experiment(_Strict):
    """One experiment as declared; see `docs/design.md` for what each part means."""

    name: str
    description: str = ""
    program: str
    parameters: dict[str, Value] = {}
    servers: Literal["colocated"] | Annotated[int, Field(ge=0)] = "colocated"
    batches: Batches = "even"
    environment: dict[str, str] = {}
    variants: dict[str, Variant] = {}
    axes: Axes = Axes()

    @field_validator("name")
    @classmethod
    def _name_is_a_word(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be a lower-case word (letters, digits, underscores): it names a directory")
        return name

    @field_validator("parameters")
    @classmethod
    def _parameters_are_not_columns(cls, parameters: dict[str, Value]) -> dict[str, Value]:
        for name in parameters:
            if not _NAME.fullmatch(name):
                raise ValueError(f"parameter '{name}' must be a lower-case word")
            if name in RESERVED_PARAMETERS:
                raise ValueError(f"parameter '{name}' has the name of a column of trials.csv")
        return parameters

    @model_validator(mode="after")
    def _known_parameters_only(self) -> Experiment:
        for name in self.axes.parameters:
            if name not in self.parameters:
                raise ValueError(f"axis '{name}' is no parameter of this experiment")
        for label, variant in self.variants.items():
            if not _NAME.fullmatch(label):
                raise ValueError(f"variant '{label}' must be a lower-case word")
            for name in variant.parameters:
                if name not in self.parameters:
                    raise ValueError(f"variant '{label}': '{name}' is no parameter of this experiment")
        return self

    def programs(self) -> set[str]:
        """Every program that a trial of this experiment may start."""
        return {self.program} | {v.program for v in self.variants.values() if v.program}


def load_experiment(path: Path) -> Experiment:
    """Read and validate an experiment.

    Raises BadInputError that names file, line and key of the first fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"cannot read experiment {path}: {error}", "name a YAML file, e.g. experiments/quickstart.yaml"
        ) from None
    try:
        document = yaml.safe_load(text)
        lines = dict(_key_lines(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    except yaml.YAMLError as error:
        raise BadInputError(f"{path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise BadInputError(f"{path}: an experiment is a mapping with name, program, parameters and axes")
    return validate(document, str(path), lines)


def validate(
    document: Mapping[str, Any], source: str, lines: Mapping[tuple[str, ...], int] | None = None
) -> Experiment:
    """Turn a mapping into an Experiment; faults become BadInputError with `source` and, where known, the line."""
    try:
        return Experiment.model_validate(dict(document))
    except ValidationError as error:
        raise BadInputError(_describe(error, source, lines or {}), "see docs/experiments.md for the keys") from None


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

    Several values make the parameter an axis. Raises BadInputError for a name the experiment does not have.
    """
    document = experiment.model_dump()
    axes = document["axes"]
    if nodes is not None:
        axes["nodes"] = nodes
    if repeats is not None:
        axes["repeats"] = repeats
    for name, text in _pairs(settings, "--set"):
        if name == "servers":
            document["servers"] = yaml.safe_load(text)
            continue
        if name not in experiment.parameters:
            known = ", ".join(sorted([*experiment.parameters, "servers"]))
            raise BadInputError(
                f"--set {name}: experiment '{experiment.name}' has no such parameter", f"one of: {known}"
            )
        values = [yaml.safe_load(part) for part in text.split(",")]
        axes.pop(name, None)
        if len(values) == 1:
            document["parameters"][name] = values[0]
        else:
            axes[name] = values
        # What the user sets holds for every variant.
        for variant in document["variants"].values():
            variant["parameters"].pop(name, None)
    document["environment"].update(_pairs(environment, "--env"))
    for label in variants:
        if label not in experiment.variants:
            known = ", ".join(experiment.variants) or "none"
            raise BadInputError(
                f"--variant {label}: experiment '{experiment.name}' has no such variant", f"one of: {known}"
            )
    if variants:
        document["variants"] = {label: document["variants"][label] for label in variants}
    return validate(document, "command line")


def by_rate(experiment: Experiment) -> Experiment:
    """The experiment when rates are given: where it and its variants do not say which trials follow them, all do."""
    if experiment.batches == "by_rate" or any(variant.batches == "by_rate" for variant in experiment.variants.values()):
        return experiment
    return experiment.model_copy(update={"batches": "by_rate"})


def _pairs(items: Sequence[str], option: str) -> Iterator[tuple[str, str]]:
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise BadInputError(f"{option} {item}: not of the form NAME=VALUE")
        yield name, value


def _key_lines(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)


def _describe(error: ValidationError, source: str, lines: Mapping[tuple[str, ...], int]) -> str:
    """One line for the first fault: where it is and what is wrong."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    line = next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), None)
    place = source if line is None else f"{source}:{line}"
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_keys_at(location[:-1]))
        return f"{place}: unknown key '{key}' (known here: {known})"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {key + ': ' if key else ''}{message}"


def _keys_at(location: tuple[str, ...]) -> list[str]:
    if location[:1] == ("variants",) and len(location) == 2:
        return list(Variant.model_fields)
    return list(Experiment.model_fields)
