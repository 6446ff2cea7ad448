"""What the harness knows of a program, from the description beside it: its roles, its parameters, what it needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from harness.contract import wire
from harness.contract.columns import count_column, cpu_column, trial_columns
from harness.experiment.parameter import STRICT, Parameter, Value, When, applies

FrameworkName = Literal["plain", "mxnet", "torch", "mpi", "dask"]
"""Whose names of environment variables a rank finds beside the neutral ones; see harness/launch/frameworks/."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACE = r"(each|first|controller|(host|group):[^\s:|]+)"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.(html|csv|txt|png|svg|npz)")
"""No name that a trial's own records or logs have."""
_PLACES = re.compile(rf"{_PLACE}(\|{_PLACE})*")


class Role(BaseModel):
    """What some ranks of a program are for, how many there are, and where."""

    model_config = STRICT

    on: str = "each"
    """`each` of the trial's nodes, the `first`, the `controller`, `host:NAME` or each of `group:NAME` of the inventory; or
    several of these with `|` between, of which the first counts that the inventory has."""
    count: Annotated[int, Field(ge=0, strict=True)] | str | None = None
    """How many, or the parameter that says it; None: one on every node that `on` names."""
    ends: Literal["finishes", "serves"] = "finishes"
    """The trial is done when all ranks that finish have ended; those that serve are stopped then."""
    may_die: Annotated[int, Field(ge=0, strict=True)] = 0
    """So many of them may be lost without ending the trial."""
    joins: Literal["start", "any"] = "start"
    """`any`: one that is late is not missed."""
    says_ready: bool = False
    """It serves, and prints a `ready` event as ranks that finish do: a virtual node holds it to a board's speed from then."""
    when: When = {}

    @field_validator("on")
    @classmethod
    def _is_a_place(cls, on: str) -> str:
        if not _PLACES.fullmatch(on):
            raise ValueError(f"'{on}' is no place: each, first, controller, host:NAME or group:NAME")
        return on


class LeftFile(BaseModel):
    """A file of a rank's working directory that is kept with the trial, under its own name."""

    model_config = STRICT

    role: str
    """Its rank 0 leaves it."""
    when: When = {}


class Need(BaseModel):
    """A part of the nodes' runtime that a program needs: `part` is a key of runtime.json."""

    model_config = STRICT

    part: str
    offers: dict[str, str] = {}
    """What a list of runtime.json must hold: `{stores: dist_sync}`."""
    same: str = ""
    """A key of runtime.json that must have one value on all nodes of a trial."""
    when: When = {}
    remedy: str = ""


def _as_needs(needs: Any) -> Any:
    return [{"part": need} if isinstance(need, str) else need for need in needs] if isinstance(needs, list) else needs


class Program(BaseModel):
    """A program's description; where there is none, a plain program: one rank a node, parameters unchecked."""

    model_config = STRICT

    description: str = ""
    command: str
    framework: FrameworkName = "plain"
    runs_in: str = wire.RUNTIME_DIRECTORY
    """Which of a node's environments has what `runtime` names: MXNet's, or one of `node_runtimes` by its name."""
    events: bool = False
    """Whether its finishing ranks print events; without, they are not asked to get ready, and may be silent."""
    roles: dict[str, Role] = {"worker": Role()}
    runtime: Annotated[tuple[Need, ...], BeforeValidator(_as_needs)] = ()
    batch: str | None = None
    epochs: str | None = None
    dataset: str | None = None
    seed: str | None = None
    limit: str | None = None
    subject: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()
    """Parameters that what is learnt depends on, and how long a step takes does not."""
    alone: dict[str, Value] = {}
    control: dict[str, Value] = {}
    estimates: str | None = None
    """A file, relative to the description's, that is asked on the controller what a trial needs and moves before it starts."""
    strategies: dict[str, dict[str, Value]] = {}
    """Ways to train together that `harness advise` compares: by what each is called, parameters with values. A name may hold a
    parameter's value, in braces."""
    dashboard: str | None = None
    """The parameter, true or false, that has it serve a dashboard on the loopback address of a node."""
    files: dict[str, LeftFile] = {}
    """By name what its ranks leave for the run directory."""
    parameters: dict[str, Parameter] | None = None

    _name: str = PrivateAttr("")
    _directory: Path = PrivateAttr(Path())

    @model_validator(mode="after")
    def _refers_to_what_there_is(self) -> Program:
        known = self.parameters
        for name in [*self.roles, *(known or ())]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"'{name}' must be a lower-case word (letters, digits, underscores)")
        self._names_are_clear()
        if not any(role.ends == "finishes" for role in self.roles.values()):
            raise ValueError("no role finishes, so no trial would end")
        for where, names in self._references().items():
            for name in names:
                if known is None or name not in known:
                    raise ValueError(f"{where}: '{name}' is no parameter of this program")
        for name, role in self.roles.items():
            if isinstance(role.count, str) and (known or {})[role.count].type != "int":
                raise ValueError(f"roles.{name}.count: parameter '{role.count}' is no whole number")
        if self.dashboard and (known or {})[self.dashboard].type != "bool":
            raise ValueError(f"dashboard: parameter '{self.dashboard}' is not true or false")
        for where, values in self._settings().items():
            for name, value in values.items():
                try:
                    (known or {})[name].checked(value)
                except ValueError as error:
                    raise ValueError(f"{where}.{name}: {error}") from None
        return self

    def _names_are_clear(self) -> None:
        """Raise ValueError for names of roles and files that something else has, or that there are not."""
        for file, left in self.files.items():
            if not _FILE.fullmatch(file):
                raise ValueError(
                    f"files: '{file}' must be a plain name that ends with .html, .csv, .txt, .png, .svg or .npz"
                )
            if left.role not in self.roles:
                raise ValueError(f"files.{file}: '{left.role}' is no role of this program")
        for role in self.roles:
            if {count_column(role), cpu_column(role)} & set(trial_columns((), ())):
                raise ValueError(
                    f"roles.{role}: trials.csv has a column {count_column(role)}; give the role another name"
                )
            if twin := next((other for other in self.roles if re.fullmatch(rf"{role}[0-9]+", other)), None):
                raise ValueError(f"roles.{twin}: ranks of {role} may have this name; give the role another one")

    def _settings(self) -> dict[str, dict[str, Value]]:
        """The parameters with values that the description has, by where."""
        strategies = {f"strategies.{name}": values for name, values in self.strategies.items()}
        return {"alone": self.alone, "control": self.control, **strategies}

    def _references(self) -> dict[str, list[str]]:
        """The names of parameters that the description uses, by where it does."""
        parts = ("batch", "epochs", "dataset", "seed", "limit")
        found = {part: [name] for part in parts if (name := getattr(self, part)) is not None}
        found |= {"subject": list(self.subject), "untimed": list(self.untimed)}
        found |= {where: list(values) for where, values in self._settings().items()}
        found["dashboard"] = [self.dashboard] if self.dashboard else []
        found |= {f"files.{name}": list(left.when) for name, left in self.files.items()}
        for name, role in self.roles.items():
            found[f"roles.{name}"] = [*role.when, *([role.count] if isinstance(role.count, str) else [])]
        for number, need in enumerate(self.runtime):
            found[f"runtime.{number}"] = list(need.when)
        for name, parameter in (self.parameters or {}).items():
            found[f"parameters.{name}.when"] = sorted(parameter.mentioned)
        return found

    @property
    def name(self) -> str:
        """As an experiment names it: the command's file name, or its path below the programs' directory."""
        return self._name or self.command

    @property
    def directory(self) -> Path:
        """Where the program lies on the controller; empty where it is not known."""
        return self._directory

    @property
    def path(self) -> Path:
        """The program's file."""
        return self._directory / self.command

    @property
    def estimator(self) -> Path | None:
        """The file that says what a trial needs; None where there is none."""
        return self._directory / self.estimates if self.estimates else None

    def at(self, name: str, directory: Path) -> Program:
        """The same description, of the program of this name in this directory."""
        found = self.model_copy()
        found._name, found._directory = name, directory
        return found

    # --- values ---

    def effective(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """All parameters with what is given, or else their defaults."""
        defaults = {name: parameter.default for name, parameter in (self.parameters or {}).items()}
        return {**defaults, **{name: value for name, value in values.items() if value is not None}}

    def check(self, name: str, value: Any) -> Value:
        """A value of a parameter as the program takes it. Raises ValueError that says what is allowed."""
        if self.parameters is None:
            if value is None or isinstance(value, bool | int | float | str):
                return value
            raise ValueError(f"{value!r} is not allowed: a number, a word, true, false or null")
        if name not in self.parameters:
            raise ValueError(f"{self.name} has no such parameter; it has: {', '.join(self.parameters)}")
        return self.parameters[name].checked(value)

    def misplaced(self, values: Mapping[str, Value]) -> tuple[str, str] | None:
        """A parameter that is set although it means nothing with the others' values, and why; None where there is none."""
        effective = self.effective(values)
        for name, parameter in (self.parameters or {}).items():
            if why := parameter.misplaced(values.get(name), effective):
                return name, why
        return None

    def depending_on(self, names: Collection[str]) -> list[str]:
        """The parameters whose meaning depends on these, or on one that does."""
        found = set(names)
        while more := [n for n, p in (self.parameters or {}).items() if n not in found and found & p.mentioned]:
            found.update(more)
        return sorted(found - set(names))

    def passed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The parameters that the program gets as arguments: those that are its own and mean something."""
        effective = self.effective(values)
        known = self.parameters or {}
        return {
            name: value
            for name, value in values.items()
            if name not in known or (known[name].passed and applies(known[name].when, effective))
        }

    def recorded(self, names: Mapping[str, Value]) -> list[str]:
        """Of the parameters of an experiment those that have a column: not those that count ranks and say no more.

        These are not passed, or the role's own column has their name (`workers`).
        """
        counts = {role.count: count_column(label) for label, role in self.roles.items()}
        return [name for name in names if not (name in counts and self._says_no_more(name, counts[name]))]

    def _says_no_more(self, name: str, column: str) -> bool:
        return name == column or not (self.parameters or {})[name].passed

    def roles_of(self, values: Mapping[str, Value]) -> dict[str, Role]:
        """The roles that a trial with these values has."""
        effective = self.effective(values)
        return {name: role for name, role in self.roles.items() if applies(role.when, effective)}

    def count_of(self, role: Role, values: Mapping[str, Value]) -> int | None:
        """How many ranks of a role a trial has; None for one on every node that the role is on."""
        if not isinstance(role.count, str):
            return role.count
        count = self.effective(values).get(role.count)
        return count if isinstance(count, int) else None

    def files_of(self, values: Mapping[str, Value]) -> dict[str, tuple[str, ...]]:
        """By role the files that its rank 0 leaves in a trial with these values."""
        effective = self.effective(values)
        left = [(each.role, name) for name, each in self.files.items() if applies(each.when, effective)]
        return {role: tuple(name for owner, name in left if owner == role) for role, _ in left}

    def needs_of(self, values: Mapping[str, Value]) -> list[Need]:
        """The parts of a runtime that a trial with these values needs."""
        effective = self.effective(values)
        return [need for need in self.runtime if applies(need.when, effective)]
