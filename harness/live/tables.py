"""The lists of a run's page: what is drawn of trials, and the tables of nodes and of trials. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from harness.console import visible
from harness.contract.json_line import Json, mapping
from harness.display import text
from harness.live.epochs import images_per_second, number
from harness.live.health import Node, throttling
from harness.live.power import Sample
from harness.live.seen import Seen
from harness.results.rows import Row
from harness.sweep.pace import clock

MOST_TRIALS = 100
"""Of the latest trials: what is listed."""
MOST_COURSES = 40
"""Of the latest trials: what is drawn."""
_STALE_SECONDS = 30
SHARED_LOOPBACK = "The nodes share one loopback interface, whose counters cannot tell whose bytes they are."


def courses(seen: Seen) -> list[Json]:
    """The accuracy by epoch of the latest trials: of validation where it is told, else of training."""
    found = []
    for trial in list(seen.courses)[-MOST_COURSES:]:
        epochs = seen.epochs_of(trial)
        for key in ("validation_accuracy", "train_accuracy"):
            points = [[n, value] for n, epoch in epochs.items() if (value := epoch.accuracy(key)) is not None]
            if points:
                label = f"{visible(trial)}: {key.replace('_', ' ')} {text.accuracy(points[-1][1])}"
                found.append({"label": label, "runs": trial == seen.running, "points": points})
                break
    return found


def rates(seen: Seen) -> list[Json]:
    """Images per second against nodes, a point a trial: over its whole epochs, the first included."""
    found = []
    for trial in list(seen.courses)[-MOST_COURSES:]:
        row, planned = seen.rows.get(trial), seen.planned.get(trial)
        nodes = number(row.get("nodes")) if row else planned.nodes if planned else None
        rate = number(row.get("images_per_train_second")) if row else images_per_second(seen.epochs_of(trial))
        if nodes and rate:
            label = f"{visible(trial)}: {text.number(rate)} images/s"
            found.append({"label": label, "runs": trial == seen.running, "point": [nodes, rate]})
    return found


def nodes(seen: Seen) -> list[Json]:
    """A row a node: the cells of the table, and the past of its processor."""
    return [_node(name, node, seen) for name, node in seen.health.nodes(_named(seen))]


def wire_note(seen: Seen) -> str:
    """Why wire use is not shown; empty where it is."""
    return SHARED_LOOPBACK if seen.cluster.get("kind") == "local" else ""


def power_note(seen: Seen) -> str:
    """What is drawn beside the nodes, and by all that has a meter; empty where nothing was sampled."""
    if not seen.power:
        return ""
    metered = {name: seen.power.of(name) for name, _ in seen.health.nodes(_named(seen))}
    others = list(seen.power.others(set(metered)))
    known = [sample.watts for sample in (*metered.values(), *(each for _, each in others)) if _is_new(sample, seen)]
    parts = [f"{visible(name)} {_watts(sample, seen)}" for name, sample in others]
    total = sum(watts for watts in known if watts is not None)
    return ", ".join([*parts, *([f"all meters together {total:.1f} W"] if len(known) > 1 else [])])


def trials(seen: Seen) -> list[Json]:
    """A row a trial that is over, the latest first."""
    return [_trial(trial, seen.rows[trial]) for trial in list(seen.rows)[: -MOST_TRIALS - 1 : -1]]


def _named(seen: Seen) -> list[str]:
    """The names of the nodes that the manifest has."""
    described = seen.cluster.get("nodes")
    found = [str(mapping(node).get("name")) for node in (described if isinstance(described, list) else ())]
    return [*found, *map(str, mapping(seen.manifest.get("placement")).values())]


def _node(name: str, node: Node, seen: Seen) -> Json:
    sample = node.samples[-1] if node.samples else None
    watts = _watts(seen.power.of(name), seen) if seen.power else ""
    if sample is None:
        return {
            "node": visible(name), "cells": [text.UNKNOWN] * 7, "watts": watts, "held": False, "old": True, "cpu": [],
        }  # fmt: skip
    wire = (None, None) if wire_note(seen) else node.rates()
    held, now = throttling(sample.throttled)
    age = max(seen.moment - sample.moment, 0.0)
    return {
        "node": visible(name),
        "cells": [
            _shown(sample.cpu_percent, lambda value: f"{value:.0f}%"),
            _shown(sample.memory_bytes, text.size),
            _shown(sample.celsius, lambda value: f"{value:.1f} °C"),
            held or text.UNKNOWN,
            *(_shown(rate, lambda value: f"{text.size(value * seen.dilation)}/s") for rate in wire),
            f"{clock(age)} ago",
        ],
        "watts": watts,
        "held": now,
        "old": age > _STALE_SECONDS,
        "cpu": [each.cpu_percent for each in node.samples if each.cpu_percent is not None],
    }


def _is_new(sample: Sample | None, seen: Seen) -> TypeGuard[Sample]:
    return sample is not None and sample.watts is not None and seen.moment - sample.moment <= _STALE_SECONDS


def _watts(sample: Sample | None, seen: Seen) -> str:
    """A meter's last sample, with its age where that is no more what is drawn now."""
    if sample is None or sample.watts is None:
        return text.UNKNOWN
    age = "" if _is_new(sample, seen) else f", {clock(seen.moment - sample.moment)} ago"
    return f"{sample.watts:.1f} W{age}"


def _trial(trial: str, row: Row) -> Json:
    accuracies: Sequence[float | None] = [number(row.get(f"{kind}_accuracy")) for kind in ("validation", "train")]
    return {
        "trial": visible(trial),
        "status": visible(str(row.get("status"))),
        "cells": [
            _shown(number(row.get("nodes")), text.count),
            _shown(number(row.get("images_per_train_second")), text.number),
            _shown(next((each for each in accuracies if each is not None), None), text.accuracy),
            _shown(number(row.get("startup_seconds")), text.seconds),
            _shown(number(row.get("total_seconds")), text.seconds),
        ],
        "why": visible(str(row.get("failure") or row.get("suspect_because") or "")),
    }


def _shown(value: float | None, show: Callable[[float], str]) -> str:
    return text.UNKNOWN if value is None else show(value)
