"""One parameter of a program: its type, its bounds, and what it means. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

Value = bool | int | float | str | None
Type = Literal["int", "float", "bool", "text", "choice"]


def _as_lists(when: Any) -> Any:
    """`{kvstore: allreduce}` means `{kvstore: [allreduce]}`."""
    if not isinstance(when, dict):
        return when
    return {name: values if isinstance(values, list) else [values] for name, values in when.items()}


When = Annotated[dict[str, list[Value]], BeforeValidator(_as_lists)]
"""Parameters and the values of which each must have one; empty where there is no condition."""


STRICT = ConfigDict(extra="forbid", frozen=True)
"""Of a part of a declaration: unknown keys are refused, and it does not change."""


class Parameter(BaseModel):
    """A parameter as `NAME.program.yaml` declares it."""

    model_config = STRICT

    type: Type
    help: str
    default: Value = None
    """What the program takes where nothing is given; None where it is then unset."""
    choices: tuple[int | float | str, ...] = ()
    choices_from: str | tuple[str, ...] | None = None
    """A YAML or JSON file whose top-level keys are the choices, or a directory whose Python modules are, or several of these;
    relative to the description's."""
    choices_when: dict[str, When] = {}
    """Choices that mean something only with certain values of other parameters."""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    when: When = {}
    """Where the parameter means something; with other values of those parameters it must keep its default."""
    passed: bool = True
    """Whether the program gets it as an argument; else it is the harness's alone."""

    @model_validator(mode="after")
    def _is_complete(self) -> Parameter:
        if self.type == "choice" and not self.choices and self.choices_from is None:
            raise ValueError("a choice needs `choices` or `choices_from`")
        if self.type != "choice" and (self.choices or self.choices_from is not None):
            raise ValueError(f"`choices` belong to type choice, not {self.type}")
        for choice in self.choices_when:
            if choice not in map(str, self.choices):
                raise ValueError(f"choices_when: '{choice}' is no choice")
        if self.type not in ("int", "float") and (self.minimum, self.maximum, self.above) != (None, None, None):
            raise ValueError(f"{self.type} has no bounds")
        if self.choices_from is None:
            self.checked(self.default)
        return self

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        if self.type == "choice":
            return "one of " + ", ".join(map(str, self.choices))
        if self.type == "bool":
            return "true or false"
        if self.type == "text":
            return "a text"
        bounds = [
            *([f"of at least {self.minimum:g}"] if self.minimum is not None else []),
            *([f"above {self.above:g}"] if self.above is not None else []),
            *([f"at most {self.maximum:g}"] if self.maximum is not None else []),
        ]
        number = "a whole number" if self.type == "int" else "a number"
        return " ".join([number, *([" and ".join(bounds)] if bounds else [])])

    @property
    def conditions(self) -> list[str]:
        """Sentences that say where it, or a choice of it, means something."""
        return [
            *([f"Only with {condition(self.when)}."] if self.when else []),
            *(f"{choice} only with {condition(when)}." for choice, when in self.choices_when.items()),
        ]

    @property
    def mentioned(self) -> set[str]:
        """The parameters on which it depends what this one means."""
        return {*self.when, *(name for when in self.choices_when.values() for name in when)}

    def checked(self, value: Any) -> Value:
        """The value as the program takes it. Raises ValueError that says what is allowed; None leaves the parameter out."""
        if value is None:
            return None
        if self.type == "choice":
            for choice in self.choices:
                if not isinstance(value, bool) and str(choice) == str(value):
                    return choice
        elif self.type == "bool":
            if isinstance(value, bool):
                return value
        elif self.type == "text":
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                return str(value)
        elif self._is_number(value) and self._within(value):
            return cast(Value, value)
        hint = "; decimals take a point" if isinstance(value, str) and "," in value else ""
        raise ValueError(f"{value!r} is not allowed: {self.allowed}{hint}{self._near(value)}")

    def _near(self, value: Any) -> str:
        """The choices that are spelled alike, in words; empty where there are none."""
        near = get_close_matches(str(value), map(str, self.choices))
        return f"; perhaps {' or '.join(near)}" if near else ""

    def misplaced(self, value: Value, values: Mapping[str, Value]) -> str:
        """Why a value means nothing beside the others' (`values`); empty where it does, or changes nothing."""
        if value is None or value == self.default:
            return ""
        for when in (self.when, self.choices_when.get(str(value), {})):
            if not applies(when, values):
                return f"{value} means nothing here: only with {condition(when)}"
        return ""

    def _is_number(self, value: Any) -> bool:
        return isinstance(value, int if self.type == "int" else int | float) and not isinstance(value, bool)

    def _within(self, value: float) -> bool:
        return (
            abs(value) <= sys.float_info.max
            and (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
        )


def applies(when: Mapping[str, list[Value]], values: Mapping[str, Value]) -> bool:
    """Whether a condition holds for these values."""
    return all(str(values.get(name)) in map(str, wanted) for name, wanted in when.items())


def condition(when: Mapping[str, list[Value]]) -> str:
    """A condition in words: `kvstore=dist_sync or dist_async`."""
    return " and ".join(f"{name}={' or '.join(map(str, values))}" for name, values in when.items())
