"""The experiment: a YAML declaration of a program, its parameters and the axes to sweep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from harness.contract.columns import DEFAULT_ACCURACIES, trial_columns
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.faults import describe, place
from harness.experiment.parameter import STRICT, Value
from harness.experiment.program import Program
from harness.experiment.secrets import has_secret
from harness.experiment.yaml_file import Lines, read_mapping

Batches = Literal["even", "by_rate"]
"""How the workers share a global batch: evenly, or so that nodes of unlike speed are done at the same moment."""

# Columns that every trials.csv has; a parameter of the same name would be ambiguous there.
RESERVED_PARAMETERS = frozenset({*trial_columns((), ()), "repeats", "rank"})

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_REMEDY = "see docs/reference/experiments.md for the keys"


def parse_counts(text: str | int | Sequence[int | str]) -> list[int]:
    """Turn `4`, `"1-4"`, `"1,2,4-6"` or a list of these into a sorted list of distinct positive counts.

    Raises ValueError that names the part that is not a count.
    """
    if not isinstance(text, int | str | list | tuple):
        raise ValueError(f"{text!r} is neither a count (4) nor a range (1-4)")
    parts = [text] if isinstance(text, int) else text.split(",") if isinstance(text, str) else list(text)
    counts: set[int] = set()
    for part in parts:
        if isinstance(part, bool):
            raise ValueError(f"{part!r} is not a count")
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", str(part))
        if not match:
            raise ValueError(f"{part!r} is neither a count (4) nor a range (1-4)")
        first, last = int(match[1]), int(match[2] or match[1])
        if first < 1 or last < first:
            raise ValueError(f"{part!r} must count upwards from 1")
        counts.update(range(first, last + 1))
    if not counts:
        raise ValueError("at least one count is needed")
    return sorted(counts)


class Axes(BaseModel):
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


class Variant(BaseModel):
    """A named alternative of the experiment, for example a baseline: what differs, and nothing else."""

    model_config = STRICT

    program: str | None = None
    parameters: dict[str, Value] = {}
    environment: dict[str, str] = {}
    batches: Batches | None = None
    nodes: Annotated[list[int], BeforeValidator(parse_counts)] | None = None
    """Of the swept cluster sizes those that it is run at; all of them where it is not said."""


class Experiment(BaseModel):
    """One experiment as declared; see `docs/reference/experiments.md` for what each part means."""

    model_config = STRICT

    name: str
    description: str = ""
    program: str
    parameters: dict[str, Value] = {}
    batches: Batches = "even"
    environment: dict[str, str] = {}
    variants: dict[str, Variant] = {}
    policies: list[str] = []
    """Variants that are ways to reach the same accuracy: of each cluster size the quickest one counts."""
    accuracies: list[Annotated[float, Field(gt=0, lt=1)]] = list(DEFAULT_ACCURACIES)
    """Validation accuracies that time is measured to, fractions of 1."""
    axes: Axes = Axes()

    _programs: dict[str, Program] = PrivateAttr({})
    _directory: Path | None = PrivateAttr(None)

    @field_validator("name")
    @classmethod
    def _name_is_a_word(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("must be a lower-case word (letters, digits, underscores): it names a directory")
        return name

    @field_validator("parameters")
    @classmethod
    def _parameters_are_words(cls, parameters: dict[str, Value]) -> dict[str, Value]:
        for name in parameters:
            if not _NAME.fullmatch(name):
                raise ValueError(f"parameter '{name}' must be a lower-case word")
        return parameters

    @field_validator("accuracies")
    @classmethod
    def _accuracies_ascend(cls, accuracies: list[float]) -> list[float]:
        return sorted(set(accuracies))

    @model_validator(mode="after")
    def _policies_are_variants(self) -> Experiment:
        for name in self.policies:
            if name not in self.variants:
                raise ValueError(f"policy '{name}' is no variant of this experiment")
        return self

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

    @property
    def directory(self) -> Path | None:
        """Where the declaration lies, and programs of its own beside it; None where it is of no file."""
        return self._directory

    def programs(self) -> dict[str, Program]:
        """Every program that a trial of this experiment may start, by the name that it has here."""
        return dict(self._programs)

    def program_of(self, label: str) -> Program:
        """The program of a variant; of the experiment itself for ""."""
        variant = self.variants.get(label)
        return self._programs[(variant and variant.program) or self.program]

    def recorded_parameters(self) -> list[str]:
        """The parameters that have a column of trials.csv."""
        return self.program_of("").recorded(self.parameters)

    def role_names(self) -> list[str]:
        """The roles of all its programs, in the order of their descriptions."""
        return list(dict.fromkeys(role for program in self._programs.values() for role in program.roles))


def load_experiment(path: Path) -> Experiment:
    """Read and validate an experiment, and the descriptions of its programs.

    Raises BadInputError that names file, line and key of the first fault.
    """
    document, lines = read_mapping(path, "experiment", "name a YAML file, e.g. experiments/quickstart.yaml")
    return validate(document, str(path), lines, path.resolve().parent)


def validate(
    document: Mapping[str, Any], source: str, lines: Lines | None = None, directory: Path | None = None
) -> Experiment:
    """Turn a mapping into an Experiment whose values its programs take.

    `directory` is where programs are looked for before the packaged ones. Faults become BadInputError with `source` and,
    where known, the line.
    """
    lines = lines or {}
    try:
        experiment = Experiment.model_validate(dict(document))
    except ValidationError as error:
        raise BadInputError(describe(error, source, lines, Experiment), _REMEDY) from None
    names = [experiment.program, *(variant.program for variant in experiment.variants.values() if variant.program)]
    experiment._programs = {name: find_program(name, directory) for name in names}
    experiment._directory = directory
    return _checked(experiment, source, lines)


def _checked(experiment: Experiment, source: str, lines: Lines) -> Experiment:
    """The experiment with every value as its program takes it. Raises BadInputError for the first that it does not take."""

    def refuse(location: tuple[str, ...], message: str) -> BadInputError:
        return BadInputError(f"{place(source, lines, location)}: {'.'.join(location)}: {message}", _remedy(experiment))

    reserved = RESERVED_PARAMETERS | set(trial_columns((), experiment.role_names()))
    for name in experiment.recorded_parameters():
        if name in reserved:
            raise BadInputError(
                f"{place(source, lines, ('parameters', name))}: parameter '{name}' has the name of a column of trials.csv",
                "give it another name in the program",
            )

    def checked(program: Program, location: tuple[str, ...], value: Any) -> Value:
        if has_secret(location[-1], value):
            raise BadInputError(
                f"{place(source, lines, location)}: {'.'.join(location)}: a parameter is on the ranks' command lines, which "
                "every user of a node sees, so it cannot be a secret",
                f"have the program read it from its environment: export {location[-1].upper()}=..., and give --env "
                f"{location[-1].upper()}",
            )
        try:
            return program.check(location[-1], value)
        except ValueError as error:
            raise refuse(location, str(error)) from None

    main = experiment.program_of("")
    parameters = {name: checked(main, ("parameters", name), value) for name, value in experiment.parameters.items()}
    variants = {}
    for label, variant in experiment.variants.items():
        program = experiment.program_of(label)
        for name, value in experiment.parameters.items():
            if variant.program and name not in variant.parameters:
                checked(program, ("parameters", name), value)
        # Null leaves out what another program does not have.
        own = {
            name: None
            if variant.program and value is None
            else checked(program, ("variants", label, "parameters", name), value)
            for name, value in variant.parameters.items()
        }
        variants[label] = variant.model_copy(update={"parameters": own})
    swept: dict[str, list[Value]] = {}
    for name, values in experiment.axes.parameters.items():
        for program in experiment.programs().values():
            swept[name] = [checked(program, ("axes", name), value) for value in values]
        if twins := _twins(values):
            raise refuse(
                ("axes", name),
                f"{twins[0]!r} and {twins[1]!r} would name one trial: values must differ in letters, digits, dots or "
                "underscores",
            )
    axes = Axes(nodes=experiment.axes.nodes, repeats=experiment.axes.repeats, **swept)
    return experiment.model_copy(update={"parameters": parameters, "variants": variants, "axes": axes})


def _twins(values: Sequence[Value]) -> tuple[Value, Value] | None:
    """Two values of an axis that look alike in a trial's id, None where there are none."""
    seen: dict[str, Value] = {}
    for value in values:
        text = fit_for_names(str(value))
        if text in seen:
            return seen[text], value
        seen[text] = value
    return None


def fit_for_names(text: str) -> str:
    """The text as it may stand in the name of a file or of a systemd unit."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)


def _remedy(experiment: Experiment) -> str:
    main = experiment.program_of("")
    return f"harness programs {main.name} shows what is allowed" if main.parameters is not None else ""


def by_rate(experiment: Experiment) -> Experiment:
    """The experiment when rates are given: where it and its variants do not say which trials follow them, all do."""
    if experiment.batches == "by_rate" or any(variant.batches == "by_rate" for variant in experiment.variants.values()):
        return experiment
    return experiment.model_copy(update={"batches": "by_rate"})
