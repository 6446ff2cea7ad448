"""A declaration's faults in one line: where it is wrong, and what is allowed there. Pure."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.experiment.yaml_file import Lines, line_of

_WANTED = "Input should be "


def describe(error: ValidationError, source: str, lines: Lines, model: type[BaseModel]) -> str:
    """The first fault of a declaration of this model: file, line, key, and what is wrong."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_keys_at(model, location[:-1]))
        return f"{place(source, lines, location)}: unknown key '{key}' (known here: {known})"
    message = first["msg"].removeprefix("Value error, ")
    # Where one of several types would do, each has its fault, and its name as the last part of the place.
    same = [each["msg"] for each in error.errors() if each["loc"][:-1] == first["loc"][:-1]]
    if (
        len(same) > 1
        and location not in lines
        and location[:-1] in lines
        and all(text.startswith(_WANTED) for text in same)
    ):
        location = location[:-1]
        key = ".".join(location)
        message = _WANTED + " or ".join(dict.fromkeys(text.removeprefix(_WANTED) for text in same))
    return f"{place(source, lines, location)}: {key + ': ' if key else ''}{message}"


def place(source: str, lines: Lines, location: tuple[str, ...]) -> str:
    """`experiment.yaml:4`, or the file alone where the line is not known."""
    line = line_of(lines, location)
    return source if line is None else f"{source}:{line}"


def _keys_at(model: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """The keys that a declaration has at a place."""
    current: Any = model
    for part in location:
        fields = current.model_fields if _is_model(current) else {}
        # Below a dictionary of models stands a name that the user chose.
        current = _model_of(fields[part].annotation) if part in fields else current
    return list(current.model_fields)


def _model_of(annotation: Any) -> Any:
    """The model that an annotation is, or holds."""
    if _is_model(annotation):
        return annotation
    if typing.get_origin(annotation) in (dict, tuple, list, typing.Union, types.UnionType, typing.Annotated):
        found = [_model_of(each) for each in typing.get_args(annotation)]
        return next((each for each in reversed(found) if each is not None), None)
    return None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
