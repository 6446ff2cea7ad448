"""Whatever is in the files of a run, it is exported whole, or refused with a HarnessError and nothing is there."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from export_runs import write_whole_run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from odd_values import CELLS, EXAMPLES, damaged, foreign

from harness.errors import HarnessError
from harness.export.contents import load_contents
from harness.export.formats import Format
from harness.export.writing import MARK, export
from harness.results.run_paths import RunPaths

tried = settings(
    max_examples=max(20, EXAMPLES // 3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FAST = [to for to in Format if to is not Format.MLFLOW]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    return write_whole_run(tmp_path_factory.mktemp("run"))


def export_all(run: RunPaths, place: Path) -> None:
    for to in FAST:
        with suppress(HarnessError):
            export(load_contents(run), to, place / "out")
        assert [path.name for path in place.iterdir() if path.name != "out"] == []
        if (place / "out").exists():
            assert (place / "out" / MARK).is_file()
            shutil.rmtree(place / "out")


@tried
@given(
    table=st.sampled_from(["trials", "epochs", "ranks", "telemetry", "power"]),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), CELLS), max_size=4),
    tail=st.binary(max_size=12),
)
@example(table="trials", changes=[(1, 0, "../x")], tail=b"")
@example(table="trials", changes=[(1, 0, "x" * 300)], tail=b"")
@example(table="epochs", changes=[(1, 4, "2.5"), (2, 4, "1e308"), (3, 3, "-1")], tail=b"")
def test_tables(run: RunPaths, tmp_path: Path, table: str, changes: list[tuple[int, int, str]], tail: bytes) -> None:
    with damaged(getattr(run, table), changes, tail):
        export_all(run, tmp_path)


MANIFEST: dict[str, Any] = {
    "started_at": "2031-01-01T00:00:00.000Z", "command": "harness sweep", "code_sha256": "ab",
    "experiment": {"program": "train.py", "parameters": {"batch_size": 1}, "variants": {"a": {"program": "b.py"}}},
    "programs": {"train.py": {"description": "x", "parameters": {"batch_size": {"type": "int", "help": "x"}}}},
    "cluster": {"kind": "pi", "nodes": [{"name": "pi1", "machine": "x", "cores": 4, "runtime": {"mxnet": "1"}}]},
    "git": {"revision": "1"}, "versions": {"harness": "1", "numpy": "2"},
}  # fmt: skip


@tried
@given(document=foreign(MANIFEST))
@example(document={**MANIFEST, "cluster": {"nodes": [{"name": "\udcff", "runtime": {"mxnet": "\udcff"}}]}})
def test_manifests(run: RunPaths, tmp_path: Path, document: Any) -> None:
    run.manifest.write_text(json.dumps(document), encoding="utf-8")
    export_all(run, tmp_path)
