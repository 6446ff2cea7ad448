"""What is planned of each trial, from a run's manifest alone. Pure; what is absent or malformed is left open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract.json_line import Json, mapping
from harness.experiment.declaration import fit_for_names

_HEAD = re.compile(r"n(\d{1,6})-r\d+(?:-|$)")


@dataclass(frozen=True)
class Planned:
    """One trial; None is what the manifest does not say."""

    nodes: int | None = None
    epochs: int | None = None
    batch: int | None = None
    """Images of a worker's step."""


def planned_trials(manifest: Json) -> dict[str, Planned]:
    """By trial id, in the order in which they run; empty where the manifest has no plan."""
    trials = manifest.get("trials")
    experiment = mapping(manifest.get("experiment"))
    programs = mapping(manifest.get("programs"))
    if not isinstance(trials, list):
        return {}
    return {str(trial): _planned(str(trial), experiment, programs) for trial in trials}


def _planned(trial: str, experiment: Mapping[str, Any], programs: Mapping[str, Any]) -> Planned:
    head = _HEAD.match(trial)
    rest = trial[head.end() :] if head else ""
    variant = _variant(rest, mapping(experiment.get("variants")))
    program = mapping(programs.get(str(variant.get("program") or experiment.get("program"))))
    given = {
        **mapping(experiment.get("parameters")),
        **mapping(variant.get("parameters")),
        **_swept(rest, mapping(experiment.get("axes"))),
    }

    def count(part: str) -> int | None:
        name = str(program.get(part))
        declared = mapping(mapping(program.get("parameters")).get(name))
        value = given.get(name, declared.get("default"))
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1e9 else None

    return Planned(int(head[1]) if head else None, count("epochs"), count("batch"))


def _variant(rest: str, variants: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variant that a trial's id names: of several that it begins with the longest."""
    named = [label for label in variants if f"{rest}-".startswith(f"{fit_for_names(label)}-")]
    return mapping(variants.get(max(named, key=len, default="")))


def _swept(rest: str, axes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of swept parameters that a trial's id names."""
    return {
        name: value
        for name, values in axes.items()
        if name not in ("nodes", "repeats") and isinstance(values, list)
        for value in values
        if f"-{fit_for_names(f'{name}_{value}')}-" in f"-{rest}-"
    }
