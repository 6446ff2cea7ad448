"""Entries of models.yaml as architectures: every option of every layer is checked. Raises ProgramError."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import ProgramError
from ..yaml_file import DATA, read_mapping
from .architecture import Architecture
from .layers import CLASSES, KINDS, Convolution, Dense, Layer, LayerError
from .weights import DRAWN, GLOROT

MODELS = DATA / "models.yaml"

_KEYS = {"description", "input", "layers", "drawn"}
_INPUT = {"side", "channels"}
_SEQUENCE = "sequence"
_FEWEST_BRANCHES = 2


def names(path: Path = MODELS) -> tuple[str, ...]:
    """The models' names."""
    return tuple(read_mapping(path))


def load(name: str, classes: int, path: Path = MODELS) -> Architecture:
    """The model of that name for a data set of so many classes."""
    entries = read_mapping(path)
    if name not in entries:
        raise ProgramError(f"there is no model {name}", f"choose one of: {', '.join(entries)}")
    return architecture(name, entries[name], classes, str(path))


def architecture(name: str, entry: object, classes: int, source: str = "models.yaml") -> Architecture:
    """The model that an entry describes."""
    try:
        parts = _keys(entry, _KEYS, {"input", "layers"})
        form = _keys(parts["input"], _INPUT, _INPUT)
        sizes = {key: _checked(form[key], {"type": int, "minimum": 1}) for key in _INPUT}
        layers = _layers(parts["layers"], classes)
        drawn = _checked(parts.get("drawn", GLOROT), {"choices": DRAWN})
        return Architecture(name=name, classes=classes, layers=layers, drawn=drawn, **sizes)
    except LayerError as error:
        raise ProgramError(
            f"{source}: model {name}: {error}", "mend the entry; the file says what each may hold"
        ) from None


def _layers(value: object, classes: int) -> tuple[Layer, ...]:
    if not isinstance(value, list):
        raise LayerError(f"layers are a list, not {value!r}")
    found: list[Layer] = []
    for number, item in enumerate(value, 1):
        try:
            found += _sequence(item, classes) if _is_sequence(item) else [_layer(item, classes)]
        except LayerError as error:
            raise LayerError(f"layer {number}: {error}") from None
    return tuple(found)


def _is_sequence(item: object) -> TypeGuard[dict[str, object]]:
    return isinstance(item, dict) and list(item) == [_SEQUENCE]


def _sequence(item: Mapping[str, object], classes: int) -> tuple[Layer, ...]:
    """A list of layers as often as it says."""
    options = item[_SEQUENCE] if isinstance(item[_SEQUENCE], dict) else {"layers": item[_SEQUENCE]}
    parts = _keys(options, {"layers", "times"}, {"layers"})
    return _layers(parts["layers"], classes) * int(_checked(parts.get("times", 1), {"type": int, "minimum": 1}))


def _layer(item: object, classes: int) -> Layer:
    """One item: a kind's name, or a mapping of it to its options or to its first option's value."""
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise LayerError(f"{item!r} is not one kind of layer with its options")
    ((kind, options),) = item.items()
    if kind not in KINDS:
        raise LayerError(f"there is no layer {kind!r}; there are {', '.join(KINDS)}")
    cls = KINDS[kind]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if not isinstance(options, dict):
        options = {next(iter(fields), "nothing"): options}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    try:
        _keys(options, set(fields), required)
        values = {name: _option(name, value, fields[name].metadata, classes) for name, value in options.items()}
        layer = cls(**values)
    except LayerError as error:
        raise LayerError(f"{kind}: {error}") from None
    if isinstance(layer, Convolution) and layer.filters == CLASSES:
        return dataclasses.replace(layer, filters=classes)
    return dataclasses.replace(layer, units=classes) if isinstance(layer, Dense) and layer.units == CLASSES else layer


def _option(name: str, value: object, allowed: Mapping[str, Any], classes: int) -> object:
    try:
        if "branches" in allowed:
            return _branches(value, classes)
        return _layers(value, classes) if "layers" in allowed else _checked(value, allowed)
    except LayerError as error:
        raise LayerError(f"{name}: {error}") from None


def _branches(value: object, classes: int) -> tuple[tuple[Layer, ...], ...]:
    if not isinstance(value, list) or len(value) < _FEWEST_BRANCHES:
        raise LayerError(f"{value!r} is no list of at least {_FEWEST_BRANCHES} lists of layers")
    return tuple(_layers(branch, classes) for branch in value)


def _checked(value: Any, allowed: Mapping[str, Any]) -> Any:
    """The value, if it is one of what a field's metadata allow."""
    if "choices" in allowed:
        if value not in allowed["choices"]:
            raise LayerError(f"{value!r} is none of {', '.join(map(str, allowed['choices']))}")
        return value
    if allowed.get("word") is not None and value == allowed["word"]:
        return value
    kinds = (int,) if allowed["type"] is int else (int, float)
    text = f"{value!r} is no {'whole ' if allowed['type'] is int else ''}number of at least {allowed['minimum']}"
    if isinstance(value, bool) or not isinstance(value, kinds) or value < allowed["minimum"]:
        raise LayerError(f"{text} or {allowed['word']}" if allowed.get("word") else text)
    if "below" in allowed and not value < allowed["below"]:
        raise LayerError(f"{value!r} is not below {allowed['below']:g}")
    return value


def _keys(value: object, known: set[str], required: set[str]) -> dict[str, Any]:
    """The mapping, once it has what is required and nothing unknown."""
    if not isinstance(value, dict):
        raise LayerError(f"{value!r} is no mapping with {', '.join(sorted(known))}")
    if unknown := [str(key) for key in value if key not in known]:
        raise LayerError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known)) or 'nothing'}")
    if missing := sorted(required - value.keys()):
        raise LayerError(f"missing: {', '.join(missing)}")
    return value
