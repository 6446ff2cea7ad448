"""RO-Crate 1.1, by the profile of process runs: a run's files, and what made them, when, on which boards, in which units."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from rocrate.rocrate import ROCrate

from harness.contract.json_line import mapping
from harness.export.contents import Contents
from harness.export.entities import Entity, board_entities, part, ref, software_entities, trial_action, trial_entities
from harness.export.trials import Trial, trials_of
from harness.report.provenance import essentials
from harness.report.reference import columns_page
from harness.report.runs.packing import experiment_text, files_of
from harness.results.rows import timestamp_at
from harness.system.files import sha256_file

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run#"
_MEDIA = {
    ".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonl", ".html": "text/html",
    ".md": "text/markdown", ".log": "text/plain", ".png": "image/png", ".svg": "image/svg+xml", ".yaml": "application/yaml",
}  # fmt: skip
_EXPERIMENT, _COLUMNS = "experiment.yaml", "columns.md"
_OURS = (_EXPERIMENT, _COLUMNS, "ro-crate-metadata.json")
_NAMES = {
    "manifest.json": "What was asked, on what, with which versions",
    "trials.csv": "One row a trial",
    "epochs.csv": "One row a trial, rank and epoch",
    "ranks.csv": "One row a trial and rank: how it ended, what it cost",
    "telemetry.csv": "One row a node and sample",
    "power.csv": "One row a power meter and sample",
    "rates.csv": "One row a node: how fast it trains by itself",
    "report.html": "Report",
}


def write(run: Contents, directory: Path, _: Path) -> None:
    """Write a copy of the run's files into the directory, and `ro-crate-metadata.json` that describes them."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = f"{_TERMS}sha256"
    trials = list(trials_of(run))
    files = [_add_file(crate, run, inner) for inner in files_of(run.paths) if inner not in _OURS]
    for name, text in (_EXPERIMENT, experiment_text(run.manifest)), (_COLUMNS, columns_page()):
        crate.add_file(BytesIO(text.encode()), name, properties=_about(name))
    for each in (
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        *software_entities(run.manifest),
        *board_entities(run.manifest),
        *_variables(run),
    ):
        _add(crate, each)
    _describe(crate, run, trials)
    for trial in trials:
        for each in trial_entities(trial):
            _add(crate, each)
        below = f"trials/{part(trial.id)}/"
        _add(crate, trial_action(run, trial, [file for file in files if file.startswith(below)]))
    _add(crate, _sweep(run, trials, files))
    crate.write(directory)


def _add(crate: Any, entity: Mapping[str, Any]) -> None:
    """Add an entity without the properties that have no value."""
    crate.add_jsonld({name: value for name, value in entity.items() if value != []})


def _describe(crate: Any, run: Contents, trials: list[Trial]) -> None:
    root = crate.root_dataset
    root["name"] = f"Run {run.name}"
    said = mapping(run.manifest.get("experiment")).get("description")
    measured = "; ".join(f"{name}: {value}" for name, value in essentials(run.manifest))
    root["description"] = f"{said or 'Distributed training at several cluster sizes.'} {measured}".strip()
    root["datePublished"] = timestamp_at(max(trial.ended for trial in trials))
    root["license"] = "Not stated: ask those who made the run."
    root["conformsTo"] = [ref(PROFILE)]
    root["mentions"] = [ref("#sweep"), *(ref(f"#trial/{part(trial.id)}") for trial in trials)]


def _sweep(run: Contents, trials: list[Trial], files: list[str]) -> Entity:
    """The sweep as a whole: by the harness, of the experiment."""
    return {
        "@id": "#sweep",
        "@type": "CreateAction",
        "name": f"Sweep of {run.experiment}",
        "description": str(run.manifest.get("command") or "not known"),
        "instrument": ref("#harness"),
        "object": [ref(_EXPERIMENT)],
        "result": [ref(file) for file in files if not file.startswith("trials/")],
        "startTime": str(run.manifest.get("started_at") or timestamp_at(min(trial.began for trial in trials))),
        "endTime": timestamp_at(max(trial.ended for trial in trials)),
    }


def _add_file(crate: Any, run: Contents, inner: str) -> str:
    """Add a file of the run; its id."""
    path = run.paths.root / inner
    about = {**_about(inner), "contentSize": str(path.stat().st_size), "sha256": sha256_file(path)}
    if inner in run.tables:
        about["variableMeasured"] = [ref(_variable(inner, each.name)) for each in run.columns(inner)]
    return str(crate.add_file(path, inner, properties=about).id)


def _about(inner: str) -> dict[str, Any]:
    name = PurePosixPath(inner)
    media = {"encodingFormat": _MEDIA[name.suffix]} if name.suffix in _MEDIA else {}
    return {"name": _NAMES.get(inner, name.name), **media}


def _variables(run: Contents) -> list[Mapping[str, Any]]:
    """Every column of the tables, with its unit."""
    return [
        {
            "@id": _variable(file, each.name),
            "@type": "PropertyValue",
            "name": each.name,
            "unitText": each.unit,
            "description": each.meaning,
        }
        for file in run.tables
        for each in run.columns(file)
    ]


def _variable(file: str, column: str) -> str:
    return f"#column/{part(file)}/{part(column)}"
