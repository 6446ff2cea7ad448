"""Gluon's model zoo as entries of a list of models; what `experiments/data/zoo.json` holds.

Made anew, in `experiments`, by the runtime's Python: `python -m training.engines.mxnet.zoo > data/zoo.json`
"""

from __future__ import annotations

import inspect
import json
import sys
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mxnet as mx
from mxnet.gluon.model_zoo import vision

from ...models.catalogue import OF_IMAGES, ZOO_PREFIX, architecture
from ...models.layers import ALL, CLASSES, Pooling
from ...models.weights import HE

Json = Any

_CLASSES = 9973
"""Asked of every net: no layer has so many outputs but the last."""
_SIDE = 224
"""Of the images that the nets are meant for."""
_SUMS = ("elemwise_add", "_plus", "broadcast_add")
_JOINS = (*_SUMS, "Concat")
_WORTH_IT = 2
"""Layers that a sequence must save."""


class UnlikeError(Exception):
    """A net has what no layer of ours can be; the message says what."""


def entries() -> dict[str, Json]:
    """Every net that layers of ours can be, by name."""
    found = {}
    for name, make in inspect.getmembers(vision, inspect.isfunction):
        if name.startswith("get_"):
            continue
        try:
            layers = layers_of(make(classes=_CLASSES))
        except UnlikeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        form = dict.fromkeys(("side", "channels"), OF_IMAGES)
        text = f"{name} of Gluon's model zoo, for images of any size that is large enough."
        found[ZOO_PREFIX + name] = over_all({"description": text, "input": form, "drawn": HE, "layers": layers})
    return found


def over_all(entry: Json) -> Json:
    """The entry with an average at its end over all places, where it is over all that the net's own images have there.

    Some nets say 7x7 or 13x13 instead; they would take images of one size alone.
    """
    poolings = [number for number, layer in enumerate(entry["layers"]) if "pooling" in layer]
    placed = architecture("net", entry, 10, images=(_SIDE, _SIDE, 3)).placed
    last = next(each for each in reversed(placed) if isinstance(each.layer, Pooling))
    if last.layer != Pooling("average", last.before[1]):
        return entry
    layers = list(entry["layers"])
    layers[poolings[-1]] = {"pooling": {"kind": "average", "size": ALL}}
    return {**entry, "layers": layers}


def layers_of(net: Any) -> list[Json]:
    """The layers of a Gluon net, as an entry of a list of models has them. Raises UnlikeError."""
    nodes = json.loads(net(mx.sym.var("images")).tojson())["nodes"]
    return _Graph(nodes).path(len(nodes) - 1, 0)


class _Graph:
    """A symbol's nodes, each after those that it takes; the first is the images."""

    def __init__(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        self._nodes = nodes
        self._dominators = [0]
        """Of every node the nearest other one that all its paths from the images go through."""
        for number in range(1, len(nodes)):
            taken = self._taken(number) or [0]
            while len(set(taken)) > 1:  # the later ones go back
                last = max(taken)
                taken = [self._dominators[each] if each == last else each for each in taken]
            self._dominators.append(taken[0])

    def path(self, end: int, start: int) -> list[Json]:
        """The layers from what follows a node to another."""
        found: list[Json] = []
        while end != start:
            found.append(self._join(end) if self._nodes[end]["op"] in _JOINS else _layer(self._nodes[end]))
            end = self._dominators[end]
        return _in_sequences(found[::-1])

    def _taken(self, number: int) -> list[int]:
        """What a node takes but for its arrays: those stand behind the first input, unless it joins several."""
        taken = [each[0] for each in self._nodes[number]["inputs"]]
        return taken if self._nodes[number]["op"] in _JOINS else taken[:1]

    def _join(self, number: int) -> Json:
        paths = [self.path(each, self._dominators[number]) for each in self._taken(number)]
        if self._nodes[number]["op"] not in _SUMS:
            return {"concatenation": {"branches": paths}}
        shortcut, layers = sorted(paths, key=len)
        return {"residual": {"layers": layers} | ({"shortcut": shortcut} if shortcut else {})}


def _layer(node: Mapping[str, Any]) -> Json:
    told = {name: _value(text) for name, text in node.get("attrs", {}).items()}
    match node["op"]:
        case "Convolution":
            return {"convolution": dict(_of_convolution(told))}
        case "Pooling":
            return {"pooling": dict(_of_pooling(told))}
        case "FullyConnected":
            return {"dense": {"units": _outputs(told["num_hidden"]), **_without_bias(told)}}
        case "BatchNorm":
            return {"normalisation": {"affine": False}} if told["fix_gamma"] else "normalisation"
        case "Activation":
            return {"activation": told["act_type"]}
        case "clip" if (told["a_min"], told["a_max"]) == (0, 6):
            return {"activation": "relu6"}
        case "Dropout":
            return {"dropout": told["p"]}
        case "Flatten":
            return "flatten"
    raise UnlikeError(f"no layer is {node['op']}")


def _of_convolution(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "filters", _outputs(told["num_filter"])
    yield "kernel", _square(told["kernel"])
    if (stride := _square(told["stride"])) > 1:
        yield "stride", stride
    if padding := _square(told["pad"]):
        yield "padding", padding
    if told["num_group"] > 1:
        yield "groups", told["num_group"]
    yield from _without_bias(told).items()


def _of_pooling(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "kind", {"avg": "average", "max": "max"}[told["pool_type"]]
    if told["global_pool"]:
        yield "size", ALL
        return
    yield "size", _square(told["kernel"])
    if told["stride"] != told["kernel"]:
        yield "stride", _square(told["stride"])
    if padding := _square(told["pad"]):
        yield "padding", padding
    if told["pooling_convention"] == "full":
        yield "rounding", "up"


def _without_bias(told: Mapping[str, Any]) -> dict[str, bool]:
    return {"bias": False} if told["no_bias"] else {}


def _outputs(count: int) -> int | str:
    return CLASSES if count == _CLASSES else count


def _square(sizes: tuple[int, int]) -> int:
    if len(set(sizes)) != 1:
        raise UnlikeError(f"no layer has a window of {sizes[0]}x{sizes[1]}")
    return sizes[0]


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _in_sequences(layers: Sequence[Json]) -> list[Json]:
    """The same layers with runs that repeat written once."""
    found: list[Json] = []
    start = 0
    while start < len(layers):
        rest = layers[start:]
        repeats = {length: _repeats(rest, length) for length in range(1, len(rest) // 2 + 1)}
        length = max(repeats, key=lambda length: (repeats[length] - 1) * length, default=1)
        times = repeats.get(length, 1)
        if (times - 1) * length < _WORTH_IT:
            length = times = 1
        once = list(rest[:length])
        found += [{"sequence": {"times": times, "layers": once}}] if times > 1 else once
        start += length * times
    return found


def _repeats(layers: Sequence[Json], length: int) -> int:
    """How often the first layers come one time after the other."""
    times = 1
    while layers[times * length : (times + 1) * length] == layers[:length]:
        times += 1
    return times


if __name__ == "__main__":
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries().items())
    print("{\n" + ",\n".join(lines) + "\n}")
