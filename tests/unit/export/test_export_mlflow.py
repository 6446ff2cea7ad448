"""An MLflow store, read by its client: runs, parameters, numbers by epoch, artifacts; and a store that is there already."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from export_runs import NAME, exported, rows_of, write_whole_run

from harness.errors import BadInputError
from harness.export.mlflow import DATABASE
from harness.results.run_paths import RunPaths


@dataclass(frozen=True)
class Store:
    run: RunPaths
    out: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.out / DATABASE}"

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self) -> dict[str, Any]:
        """The runs of the experiment by their names."""
        client = self.client()
        experiment = client.get_experiment_by_name("example")
        return {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library makes a directory where it stands whenever it opens a database."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Making a store's tables takes seconds: all tests read one, and the last ones add to it."""
    directory = tmp_path_factory.mktemp("mlflow")
    made = Store(write_whole_run(directory), directory / "out")
    (directory / "here").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory / "here")
        done = exported(made.run.root, "mlflow", "-o", made.out)
    assert (done.exit_code, done.stdout) == (0, f"{made.out}\n"), done.output
    assert done.stderr == ""
    assert list((directory / "here").iterdir()) == []
    return made


def milliseconds(text: str) -> int:
    return round(1000 * datetime.fromisoformat(text).timestamp())


def test_a_sweep_is_a_run_with_a_run_of_every_trial_below_it(store: Store) -> None:
    runs = store.runs()
    assert set(runs) == {NAME, "n01-r1", "n02-r1", "n02-r2"}
    parent = runs[NAME]
    below = {name for name, each in runs.items() if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert below == set(runs) - {NAME}
    assert parent.data.tags["harness.run"] == f"example/{NAME}"
    assert parent.data.tags["harness.command"] == "harness sweep experiments/example.yaml"
    assert parent.data.params == {"kvstore": "dist_sync", "batch_size": "10"}
    assert json.loads(parent.data.tags["harness.units"])["total_seconds"] == "s"
    assert runs["n02-r1"].data.tags["harness.directory"] == str(store.run.trial("n02-r1"))
    failed = runs["n02-r2"]
    assert (failed.info.status, runs["n02-r1"].info.status) == ("FAILED", "FINISHED")
    assert failed.data.tags["harness.failure"] == "worker1 on pi2: exit code 1"


def test_a_trial_s_settings_and_numbers_are_those_of_trials_csv(store: Store) -> None:
    runs = store.runs()
    for row in rows_of(store.run.trials):
        found = runs[row["trial"]]
        assert found.data.params["kvstore"] == row["kvstore"]
        assert float(found.data.params["batch_size"]) == float(row["batch_size"])
        assert found.data.params["nodes"] == row["nodes"]
        assert found.data.metrics["total_seconds"] == float(row["total_seconds"])
        assert found.info.start_time == milliseconds(row["started_at"])
        assert ("train_seconds" in found.data.metrics) == bool(row["train_seconds"])


def test_values_by_epoch_have_their_step_and_time(store: Store) -> None:
    client, runs = store.client(), store.runs()
    for row in rows_of(store.run.epochs):
        if row["trial"] != "n02-r1":
            continue
        for name in ("train_seconds", "wait_seconds", "validation_accuracy"):
            history = client.get_metric_history(runs[row["trial"]].info.run_id, f"rank{row['rank']}/{name}")
            (found,) = [each for each in history if each.step == int(row["epoch"])]
            assert (found.value, found.timestamp) == (float(row[name]), milliseconds(row["time"]))
    over = client.get_metric_history(runs["n01-r1"].info.run_id, "epoch/train_seconds")
    assert [(each.step, each.value) for each in over] == [(1, 40.0), (2, 40.0)]


def test_files_of_the_run_are_artifacts(store: Store) -> None:
    client, parent = store.client(), store.runs()[NAME].info.run_id
    names = {each.path for each in client.list_artifacts(parent)}
    assert names == {
        "manifest.json",
        "report.html",
        "trials.csv",
        "epochs.csv",
        "ranks.csv",
        "telemetry.csv",
        "power.csv",
    }
    place = Path(client.download_artifacts(parent, "trials.csv"))
    assert place.read_bytes() == store.run.trials.read_bytes()


def test_nothing_is_left_beside_the_store(store: Store) -> None:
    assert {path.name for path in store.out.parent.iterdir()} == {"example", "here", "out"}
    assert {path.name for path in store.out.iterdir()} == {DATABASE, "artifacts", ".harness-export.json"}


def test_a_store_that_is_there_takes_a_run_once_and_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    before = {each.info.run_id for each in store.runs().values()}
    error = exported(store.run.root, "mlflow", "--use-tracking-uri").exception
    assert isinstance(error, BadInputError)
    assert "is in the store already" in error.message
    assert {each.info.run_id for each in store.runs().values()} == before

    done = exported(store.run.root, "mlflow", "--use-tracking-uri", "--force")
    assert done.exit_code == 0, done.output
    assert store.uri not in done.output
    after = {each.info.run_id for each in store.runs().values()}
    assert len(after) == len(before)
    assert not after & before

    other = RunPaths(tmp_path / "other" / "run")
    shutil.copytree(store.run.root, other.root)
    (tmp_path / "taken").touch()  # where its artifacts cannot go
    client = store.client()
    experiment = client.create_experiment("other", artifact_location=(tmp_path / "taken").as_uri())
    error = exported(other.root, "mlflow", "--use-tracking-uri").exception
    assert isinstance(error, BadInputError), error
    assert client.search_runs([experiment]) == []


def test_a_store_that_cannot_be_reached_is_refused_without_its_password(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9/")
    done = exported(store.run.root, "mlflow", "--use-tracking-uri")
    assert isinstance(done.exception, BadInputError), done.exception
    assert "hunter2" not in f"{done.output}{done.exception}"
