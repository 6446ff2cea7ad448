"""How fast each node trains, and how to share a global batch so that all are done at the same moment. Pure.

A node's step is taken to cost a fixed time and a time per image. Which node gets how many images is then a matter of
giving each image to whom it delays least, which makes the slowest node's step as short as whole images allow: giving an
image to anybody else could not have ended sooner (the greedy answer to min max with increasing costs).
"""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from harness.contract.columns import RATE_COLUMNS
from harness.errors import BadInputError
from harness.nodes.inventory import Node

Row = dict[str, str | float]

_REMEDY = "measure the nodes again: harness benchmark EXPERIMENT"


@dataclass(frozen=True)
class Rate:
    """One node's own speed: `images` take `fixed_seconds + images * image_seconds` a step."""

    node: str
    address: str
    fixed_seconds: float
    image_seconds: float

    def step_seconds(self, images: int) -> float:
        """How long a step of so many images takes."""
        return self.fixed_seconds + images * self.image_seconds


@dataclass(frozen=True)
class Rates:
    """What a benchmark found: what it ran, and every node's rate by name."""

    about: Mapping[str, str]
    nodes: Mapping[str, Rate]

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"about": dict(self.about), "nodes": {name: asdict(rate) for name, rate in self.nodes.items()}}

    def of(self, nodes: Sequence[Node]) -> list[Rate]:
        """The nodes' rates, in their order. Raises BadInputError for a node that was not measured, or is another one now."""
        for node in nodes:
            if node.name not in self.nodes:
                raise BadInputError(f"the rates have no node {node.name}: the inventory changed since", _REMEDY)
            then = self.nodes[node.name].address
            if then != node.address:
                raise BadInputError(
                    f"the rates' {node.name} had the address {then}, now it has {node.address}: the inventory changed since",
                    _REMEDY,
                )
        return [self.nodes[node.name] for node in nodes]


def fit(samples: Mapping[int, float]) -> tuple[float, float]:
    """Fixed seconds and seconds per image from the seconds that a step of so many images took, at two sizes or more.

    Least squares of the relative errors, so that small batches count as much as large ones. No step is cheaper than
    nothing: where the fixed part came out negative it is 0, and where more images cost nothing, each costs a step's share.
    Raises ValueError for one size alone, whose images could cost anything.
    """
    if len(samples) < 2:
        sizes = ", ".join(map(str, samples)) or "none"
        raise ValueError(f"a fixed cost shows between steps of two batch sizes, and there are those of {sizes}")
    inverse = [(1 / seconds, images / seconds) for images, seconds in samples.items()]
    aa, ab, bb = (sum(row[i] * row[j] for row in inverse) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(row[i] for row in inverse) for i in (0, 1))
    determinant = aa * bb - ab * ab
    fixed, image = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
    if fixed < 0 or image <= 0:
        fixed, image = 0.0, b / bb
    return fixed, image


def share(total: int, rates: Sequence[Rate]) -> tuple[int, ...]:
    """Images of a step for each node, at least one, `total` together, so that the longest step is as short as it can be.

    Of equal nodes the first ones get the images that are left over. Raises ValueError for fewer images than nodes.
    """
    if total < len(rates):
        raise ValueError(f"{total} images are not one for each of {len(rates)} nodes")
    images = [1] * len(rates)
    queue = [(rate.step_seconds(2), number) for number, rate in enumerate(rates)]
    heapq.heapify(queue)
    for _ in range(total - len(rates)):
        _, number = queue[0]
        images[number] += 1
        heapq.heapreplace(queue, (rates[number].step_seconds(images[number] + 1), number))
    return tuple(images)


def step_samples(epochs: Iterable[Mapping[str, Any]], batch_of: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """By node and batch size, the median seconds of a step over the rows of epochs.csv; first epochs are left out.

    `batch_of` is each trial's batch size. Raises BadInputError for an epoch whose steps, or how long they took, is not known.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for row in epochs:
        if float(row["epoch"]) > 1:
            found.setdefault(row["node"], {}).setdefault(batch_of[row["trial"]], []).append(_step_seconds(row))
    return {node: {batch: median(times) for batch, times in sizes.items()} for node, sizes in found.items()}


def item_seconds(epochs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """By node, the median seconds of an item (an image, a tree) over the rows of epochs.csv that say how many they were."""
    found: dict[str, list[float]] = {}
    for row in epochs:
        items, seconds = (float(row.get(key) or 0) for key in ("images", "train_seconds"))
        if items > 0 and seconds > 0:
            found.setdefault(row["node"], []).append(seconds / items)
    return {node: median(times) for node, times in found.items()}


def _step_seconds(row: Mapping[str, Any]) -> float:
    """The mean step of one row of epochs.csv; empty cells are what the program did not say."""
    steps, seconds = (float(row.get(key) or 0) for key in ("steps", "train_seconds"))
    if steps > 0 and seconds > 0:
        return seconds / steps
    what = "how many steps it had" if seconds > 0 else "how long it took"
    raise BadInputError(
        f"{row['trial']}: epoch {row['epoch']} on {row['node']} does not say {what}: no rate can be told",
        "let the program print `steps` and `train_seconds` in every `epoch` event, as train.py does",
    )


def rate_rows(rates: Sequence[Rate], batch_size: int) -> list[Row]:
    """The rows of rates.csv: rates at a batch of `batch_size`, and each node's share of a global batch of so many a node."""
    shares = share(batch_size * len(rates), rates)
    return [
        {
            "node": rate.node,
            "address": rate.address,
            "images_per_second": _digits(batch_size / rate.step_seconds(batch_size)),
            "image_milliseconds": _digits(rate.image_seconds * 1e3),
            "fixed_milliseconds": _digits(rate.fixed_seconds * 1e3),
            "share": _digits(images / sum(shares)),
        }
        for rate, images in zip(rates, shares, strict=True)
    ]


def rates_text(about: Mapping[str, object], rows: Iterable[Row]) -> str:
    """The content of rates.csv: what was measured, a `# name: value` each line, then the rows."""
    buffer = io.StringIO()
    for name, value in about.items():
        buffer.write(f"# {name}: {' '.join(str(value).split())}\n")
    writer = csv.DictWriter(buffer, RATE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def parse_rates(text: str, source: str) -> Rates:
    """Read what `rates_text` wrote. Raises BadInputError that names `source` and what is wrong with it."""
    lines = text.splitlines()
    pairs = (line[1:].partition(":") for line in lines if line.startswith("#"))
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    nodes = {}
    try:
        for row in rows:
            fixed, image = (float(row[f"{part}_milliseconds"]) / 1e3 for part in ("fixed", "image"))
            if not (0 <= fixed < float("inf") and 0 < image < float("inf")):
                raise ValueError(f"a step of {row['node']} cannot take so long")
            nodes[row["node"]] = Rate(row["node"], row["address"], fixed, image)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{source} is no rates file: {error}", _REMEDY) from None
    if not nodes:
        raise BadInputError(f"{source} names no node", _REMEDY)
    return Rates({name.strip(): value.strip() for name, _, value in pairs}, nodes)


def _digits(value: float) -> float:
    """Six digits: more than a measurement has, and the same file from the same numbers."""
    return float(f"{value:.6g}")
