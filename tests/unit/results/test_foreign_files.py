"""Whatever is in the files of a run, it is read, or refused with a HarnessError, and nothing else happens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odd_values import CELLS, EXAMPLES, damaged, foreign
from report_runs import manifest, power_of, trial, write_run

from harness.analysis.analysis import analyse_run
from harness.analysis.load import load_run
from harness.errors import HarnessError
from harness.experiment.declaration import validate
from harness.launch.checkpoints import Checkpoint, Saved
from harness.report.provenance import essentials, flatten
from harness.results.earlier_run import differences, open_earlier_run
from harness.results.manifest import LAYOUT, experiment_digest
from harness.results.redaction import kept_experiment
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.virtual.state import cluster_of

tried = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DECLARED = validate({"name": "e", "program": "train.py", "parameters": {"epochs": 1}}, "test")
EARLIER = {
    "layout": LAYOUT, "versions": {"harness": "1"}, "rates": None, "code_sha256": "x", "cluster": {"time_dilation": 1},
    "experiment": json.loads(kept_experiment(DECLARED).model_dump_json()), "experiment_sha256": experiment_digest(DECLARED),
}  # fmt: skip
REPORTED = {
    **manifest([1, 2], kvstore=["none", "dist_sync"]),
    "rates": {"about": {"batch_size": 64}, "nodes": {"pi1": {"address": "x", "fixed_seconds": 0.1, "image_seconds": 0.01}}},
    "programs": {"train.py": {"batch": "batch_size", "subject": ["kvstore"], "control": {"kvstore": "none"},
                              "roles": {"worker": {"on": "each", "ends": "finishes"}}}},
    "trials": ["n01-r1"],
}  # fmt: skip


@contextmanager
def refusing() -> Iterator[None]:
    """A HarnessError is all that may happen."""
    with suppress(HarnessError):
        yield


@tried
@given(document=foreign(EARLIER))
@example(document={**EARLIER, "cluster": {"time_dilation": 10**400}})
def test_the_manifest_of_a_run_to_resume(tmp_path: Path, document: Any) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with refusing():
        differences(open_earlier_run(tmp_path), DECLARED, "y", None, 2.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    return write_run(tmp_path_factory.mktemp("run"), trial(1), trial(2), power=power_of(["pi1", "pi2"], 300))


@settings(tried, max_examples=max(20, EXAMPLES // 3))
@given(document=foreign(REPORTED))
@example(document={**REPORTED, "experiment": {"name": "example", "program": "1" * 400}})  # no file can be called so
@example(document={**REPORTED, "experiment": {"name": "example", "program": "a\0b"}})
@example(document={**REPORTED, "programs": {"train.py": {"subject": True, "untimed": 1}}})
def test_the_manifest_of_a_run_to_report(run: RunPaths, document: Any) -> None:
    run.manifest.write_text(json.dumps(document))
    with refusing():
        found = load_run(run)
        analyse_run(found)
        essentials(found.manifest)
        flatten(found.manifest)


@settings(tried, max_examples=max(20, EXAMPLES // 3))
@given(
    table=st.sampled_from(["trials", "epochs", "telemetry", "power"]),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), CELLS), max_size=4),
    tail=st.binary(max_size=12),
)  # fmt: skip
@example(table="epochs", changes=[(1, 5, "-1")], tail=b"")  # a year that pandas reads and cannot compute with
def test_the_tables_of_a_run(run: RunPaths, table: str, changes: list[tuple[int, int, str]], tail: bytes) -> None:
    run.manifest.write_text(json.dumps(REPORTED))
    with damaged(getattr(run, table), changes, tail), refusing():
        found = load_run(run)
        analyse_run(found)


SAVED = Saved(Checkpoint(1, {"": b"weights"}), {"epochs": 1, "ranks": 0, "telemetry": 0}, 1.0, 2.0, None)
RECORD = {
    "epoch": 1, "weights_sha256": {"": "b5b5"}, "rows": {"epochs": 1}, "startup_seconds": 1.0, "total_seconds": 2.0,
    "model_parameters": None,
}  # fmt: skip


@tried
@given(record=foreign(RECORD), torn=st.binary(max_size=6))
@example(record={**RECORD, "epoch": 10**400}, torn=b"")
def test_the_record_of_a_checkpoint(tmp_path: Path, record: Any, torn: bytes) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    (tmp_path / "run").mkdir()
    paths = RunPaths(tmp_path / "run")
    with RunDirectory(paths, []) as opened:
        opened.begin("t")
        opened.epoch({"trial": "t", "epoch": 1})
        opened.keep("t", SAVED)
    written = json.loads(paths.checkpoint_record("t").read_text())
    if isinstance(record, dict) and record.get("weights_sha256") == RECORD["weights_sha256"]:
        record = {**record, "weights_sha256": written["weights_sha256"]}
    paths.checkpoint_record("t").write_bytes(json.dumps(record).encode() + torn)
    with refusing(), RunDirectory(paths, []) as opened:
        opened.begin("t", "attempt", go_on=True)


@tried
@given(document=foreign({"name": "pi", "options": {"link": "100mbit"}}) | st.binary(max_size=9).map(lambda data: data))
def test_what_a_virtual_cluster_wrote_of_itself(tmp_path: Path, document: Any) -> None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    (tmp_path / "cluster.json").write_bytes(data)
    (tmp_path / "hosts.yml").write_text("")
    with refusing():
        cluster_of(tmp_path / "hosts.yml")
