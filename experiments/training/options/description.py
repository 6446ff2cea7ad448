"""A program's description, as far as its command line is made of it; the harness reads the same file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..yaml_file import EXPERIMENTS, read_mapping

PROGRAMS = EXPERIMENTS / "programs"

Value = int | float | bool | str | None
When = Mapping[str, tuple[Value, ...]]
"""Parameters, each of which must have one of its values."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a program."""

    name: str
    type: str
    """int, float, bool, text or choice."""
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    """The value must be larger than this."""
    when: When = field(default_factory=dict)
    """Where it means something."""
    choices_when: Mapping[str, When] = field(default_factory=dict)
    """Where single choices mean something."""

    @property
    def option(self) -> str:
        """As it is spelled on the command line."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Description:
    """What a program is for, and the parameters that it takes itself."""

    command: str
    text: str
    parameters: tuple[Parameter, ...]


@cache
def described(command: str) -> Description:
    """The description beside a program of `experiments/programs`."""
    return read_description(PROGRAMS / Path(command).with_suffix(".program.yaml"))


def read_description(path: Path) -> Description:
    """Read a description; what is `passed: false` is the harness's alone. Raises ProgramError."""
    content = read_mapping(path)
    entries = {**_shared(content, path), **content.get("parameters", {})}
    parameters = [_parameter(name, entry, path) for name, entry in entries.items() if entry.get("passed", True)]
    return Description(content["command"], content["description"], tuple(parameters))


def _shared(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The parameters of another description that this one takes: `only` these of `parameters_from`."""
    if "parameters_from" not in content:
        return {}
    source = (path.parent / content["parameters_from"]).resolve()
    shared = read_mapping(source)["parameters"]
    found = {name: dict(shared[name]) for name in content.get("only", shared)}
    for entry in found.values():
        if "choices_from" in entry:  # which is relative to the other description
            entry["choices_from"] = [source.parent / place for place in _listed(entry["choices_from"])]
    return found


def _when(entry: Any) -> dict[str, tuple[Value, ...]]:
    return {name: tuple(value) if isinstance(value, list) else (value,) for name, value in (entry or {}).items()}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _choices_in(source: Path) -> Collection[str]:
    """The keys of a YAML or JSON file, or the names of a folder's Python modules."""
    if source.is_dir():
        return sorted(module.stem for module in source.glob("[!_]*.py"))
    return read_mapping(source)


def _parameter(name: str, entry: dict[str, Any], path: Path) -> Parameter:
    values = dict(entry)
    values.pop("passed", None)
    sources = [(path.parent / source).resolve() for source in _listed(values.pop("choices_from", []))]
    choices = [name for source in sources for name in _choices_in(source)] or values.pop("choices", ())
    return Parameter(
        name=name,
        choices=tuple(map(str, choices)),
        when=_when(values.pop("when", None)),
        choices_when={str(choice): _when(when) for choice, when in values.pop("choices_when", {}).items()},
        **{"default": None, "help": "", **values},
    )
