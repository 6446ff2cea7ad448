"""Entries of models.yaml and zoo.json as architectures: every option of every layer is checked. Raises ProgramError."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ..errors import ProgramError, spelled_alike
from ..yaml_file import DATA, read_mapping
from .architecture import Architecture
from .layer import after
from .layers import CLASSES, KINDS, Convolution, Dense, Layer, LayerError
from .weights import DRAWN, GLOROT

MODELS = DATA / "models.yaml"
ZOO = DATA / "zoo.json"

ZOO_PREFIX = "zoo:"
"""Names of Gluon's nets begin with it."""
OF_IMAGES = "images"
"""Of a model's input: that of the data set's images."""

Images = tuple[int, int, int]
"""Height, width, channels."""

_KEYS = {"description", "input", "layers", "drawn"}
_INPUT = {"side", "channels"}
_SEQUENCE = "sequence"
_FEWEST_BRANCHES = 2
_LARGEST_SIDE = 512
"""Of images for which a model is tried, in pixels."""


def names() -> tuple[str, ...]:
    """The models' names."""
    return (*read_mapping(MODELS), *read_mapping(ZOO))


def load(name: str, classes: int, images: Images | None = None) -> Architecture:
    """The model of that name for a data set of so many classes.

    `images` are those that a model sees as they are, where its entry leaves their size to the data set.
    """
    path = ZOO if name.startswith(ZOO_PREFIX) else MODELS
    entries = read_mapping(path)
    if name not in entries:
        known = names()
        raise ProgramError(
            f"there is no model {name}", f"choose one of: {', '.join(known)}{spelled_alike(name, known)}"
        )
    return architecture(name, entries[name], classes, str(path), images)


def architecture(
    name: str, entry: object, classes: int, source: str = "models.yaml", images: Images | None = None
) -> Architecture:
    """The model that an entry describes."""
    try:
        parts = _keys(entry, _KEYS, {"input", "layers"})
        form = _keys(parts["input"], _INPUT, _INPUT)
        sizes = {key: _checked(form[key], {"type": int, "minimum": 1, "word": OF_IMAGES}) for key in _INPUT}
        layers = _layers(parts["layers"], classes)
        drawn = _checked(parts.get("drawn", GLOROT), {"choices": DRAWN})
        if OF_IMAGES in sizes.values():
            if images is None:
                raise LayerError("its input is that of a data set's images, and none is named")
            given = {"side": images[0], "channels": images[2]}
            sizes = {key: given[key] if size == OF_IMAGES else size for key, size in sizes.items()}
            _check_large_enough(name, layers, **sizes)
        return Architecture(name=name, classes=classes, layers=layers, drawn=drawn, **sizes)
    except LayerError as error:
        raise ProgramError(
            f"{source}: model {name}: {error}", "mend the entry; the file says what each may hold"
        ) from None


def _check_large_enough(name: str, layers: Sequence[Layer], side: int, channels: int) -> None:
    """Raise ProgramError where images are too small for layers that take larger ones."""
    if not (fault := _misfit(layers, side, channels)):
        return
    larger = range(side + 1, _LARGEST_SIDE + 1)
    least = next((size for size in larger if not _misfit(layers, size, channels)), None)
    if least:
        raise ProgramError(
            f"images of {side}x{side} are too small for {name}: {fault}",
            f"choose a data set with images of {least}x{least} or larger, or another model",
        )


def _misfit(layers: Sequence[Layer], side: int, channels: int) -> str:
    """Why images of such a size cannot go through layers; empty where they can."""
    try:
        after(layers, (channels, side, side))
    except LayerError as error:
        return str(error)
    return ""


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
