"""A run as it is exported: its tables, with unit and meaning of every column, and its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness.analysis.load import load_run, read_table
from harness.contract.columns import Column
from harness.contract.headers import OWN_UNIT, described
from harness.contract.json_line import mapping, parse_json
from harness.errors import BadInputError
from harness.results.run_paths import RunPaths


@dataclass(frozen=True)
class Contents:
    """A run's tables by the names of their files, those that have rows; `notes` say what could not be read."""

    paths: RunPaths
    tables: Mapping[str, pd.DataFrame]
    manifest: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def experiment(self) -> str:
        """The directory's name: the experiment's."""
        return self.paths.root.parent.name

    @property
    def name(self) -> str:
        """What the run is called: `EXPERIMENT/RUN`."""
        return f"{self.experiment}/{self.paths.root.name}".encode(errors="replace").decode()

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """By name what the manifest says of a parameter of the experiment's program: `type`, `help` and so on."""
        program = str(mapping(self.manifest.get("experiment")).get("program"))
        said = mapping(mapping(mapping(self.manifest.get("programs")).get(program)).get("parameters"))
        return {str(name): mapping(about) for name, about in said.items()}

    def columns(self, file: str) -> tuple[Column, ...]:
        """The columns of a table in their order; a parameter means what its program's description says."""
        helps = {name: str(about["help"]) for name, about in self.parameters.items() if about.get("help")}
        return tuple(
            replace(each, meaning=helps[each.name]) if each.unit == OWN_UNIT and each.name in helps else each
            for each in described(file, map(str, self.tables[file].columns))
        )


def load_contents(paths: RunPaths) -> Contents:
    """Read all that is exported of a run.

    Raises BadInputError where it cannot be read, or no trial has a result.
    """
    data = load_run(paths)
    if data.trials.empty:
        raise BadInputError(f"{paths.root} has no trial with a result: nothing can be exported", "run its sweep first")
    (ranks, rank_notes), (rates, rate_notes) = read_table(paths.ranks), read_table(paths.rates)
    tables = {
        paths.trials.name: data.trials,
        paths.epochs.name: data.epochs,
        paths.ranks.name: ranks,
        paths.telemetry.name: data.telemetry,
        paths.power.name: data.power,
        paths.rates.name: rates,
    }
    there = {name: table for name, table in tables.items() if not table.empty}
    # Most formats cannot hold lone surrogates.
    manifest = parse_json(json.dumps(data.manifest, ensure_ascii=False).encode(errors="replace"))
    return Contents(paths, there, manifest, (*data.notes, *rank_notes, *rate_notes))
