"""An RO-Crate, read by the library's own reader: files, software, boards, trials, units; every reference leads somewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from export_runs import exported, rows_of, write_whole_run
from rocrate.rocrate import ROCrate

from harness.contract.columns import column
from harness.results.run_paths import RunPaths

METADATA = "ro-crate-metadata.json"


@dataclass(frozen=True)
class Made:
    run: RunPaths
    out: Path
    crate: Any


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("crate")
    run, out = write_whole_run(directory), directory / "out"
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    manifest["programs"]["other.py"] = {"description": "Does something else."}  # of a variant that was not run
    run.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    done = exported(run.root, "crate", "-o", out)
    assert done.exit_code == 0, done.output
    return Made(run, out, ROCrate(out))


def test_the_run_s_files_are_in_it_with_size_and_digest(made: Made) -> None:
    inner = {path.relative_to(made.run.root).as_posix() for path in made.run.root.rglob("*") if path.is_file()} - {
        ".lock"
    }
    files = {each.id: each for each in made.crate.data_entities}
    assert set(files) == inner | {"experiment.yaml", "columns.md"}
    for name in inner:
        data = (made.run.root / name).read_bytes()
        assert (made.out / name).read_bytes() == data
        assert files[name]["contentSize"] == str(len(data))
        assert files[name]["sha256"] == hashlib.sha256(data).hexdigest()
    assert files["trials.csv"]["encodingFormat"] == "text/csv"
    assert yaml.safe_load((made.out / "experiment.yaml").read_text(encoding="utf-8"))["program"] == "train.py"


def test_it_is_a_crate_of_a_process_run(made: Made) -> None:
    document = json.loads((made.out / METADATA).read_text(encoding="utf-8"))
    by_id = {each["@id"]: each for each in document["@graph"]}
    assert len(by_id) == len(document["@graph"])
    assert by_id[METADATA]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = by_id["./"]
    assert root["conformsTo"] == [{"@id": "https://w3id.org/ro/wfrun/process/0.5"}]
    assert {"name", "description", "datePublished", "license"} <= set(root)
    assert {each["@id"] for each in root["mentions"]} == {
        each["@id"] for each in document["@graph"] if each["@type"] == "CreateAction"
    }


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            for inner in value.values():
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_to_an_entity(made: Made) -> None:
    graph = json.loads((made.out / METADATA).read_text(encoding="utf-8"))["@graph"]
    ids = {each["@id"] for each in graph}
    assert {each for each in references(graph) if each not in ids} == {"https://w3id.org/ro/crate/1.1"}


def test_trials_say_what_made_them_when_and_how_they_ended(made: Made) -> None:
    trial = made.crate.get("#trial/n02-r1")
    program, *boards = trial["instrument"]
    assert (program["name"], program["description"]) == ("train.py", "Trains.")
    assert [board["name"] for board in boards] == ["pi1", "pi2"]
    assert boards[0]["description"] == "virtual node, aarch64, 4 cores, mxnet 1.9.1"
    (row,) = [row for row in rows_of(made.run.trials) if row["trial"] == "n02-r1"]
    assert trial["startTime"] == row["started_at"]
    assert trial["endTime"] == "2031-01-01T00:00:10.000Z"  # its last sample
    assert trial["actionStatus"] == "http://schema.org/CompletedActionStatus"
    settings = {each["name"]: each["value"] for each in trial["object"]}
    assert settings == {"nodes": 2, "repeat": 1, "workers": 2, "servers": 2, "kvstore": "dist_sync", "batch_size": 10,
                        "epochs": 2, "seed": 0}  # fmt: skip
    assert [each.id for each in trial["result"]] == ["trials/n02-r1/worker0.log"]
    failed = made.crate.get("#trial/n02-r2")
    assert failed["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert failed["error"] == "worker1 on pi2: exit code 1"


def test_the_sweep_is_the_harness_s_with_its_version(made: Made) -> None:
    sweep = made.crate.get("#sweep")
    assert sweep["instrument"]["softwareVersion"] == "0.1.0"
    assert sweep["instrument"]["identifier"] == "0123abc"
    assert sweep["description"] == "harness sweep experiments/example.yaml"
    assert {each.id for each in sweep["result"]} >= {"trials.csv", "epochs.csv", "report.html"}
    assert made.crate.get("#runtime/mxnet/1.9.1")["softwareVersion"] == "1.9.1"


def test_columns_have_their_units(made: Made) -> None:
    measured = {each["name"]: each for each in made.crate.get("trials.csv")["variableMeasured"]}
    assert list(measured) == list(rows_of(made.out / "trials.csv")[0])
    assert measured["total_seconds"]["unitText"] == "s"
    assert measured["total_seconds"]["description"] == column("trials.csv", "total_seconds").meaning
