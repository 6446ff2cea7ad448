"""Runs as MLflow keeps them: a parent run a sweep, below it a run a trial with parameters, numbers and values by epoch."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import __version__
from harness.contract.json_line import mapping
from harness.errors import BadInputError
from harness.experiment.secrets import without_secrets
from harness.export.contents import Contents
from harness.export.trials import Trial, trials_of
from harness.report.provenance import essentials, flatten
from harness.results.opening import refuse_unfinished

TRACKING_URI = "MLFLOW_TRACKING_URI"

Keep = Callable[[Any, Path], None]
"""Puts a file among the artifacts of a run of MLflow's."""

_RUN_TAG = "harness.run"
_MOST = {"metrics": 1000, "params": 100}
"""That MLflow takes in one call."""
_LONGEST = 5000
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]")


@contextmanager
def connected(uri: str) -> Iterator[Any]:
    """A client of the store at `uri`. What MLflow refuses in the block is a BadInputError; no address is in it."""
    # Both are read when the library is imported: without the first it tells its makers of every use.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    logging.disable(logging.INFO)  # of every step that makes the tables
    try:
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, SQLAlchemyError) as error:
        raise _refused(error) from None
    finally:
        logging.disable(logging.NOTSET)


def _refused(error: Exception) -> BadInputError:
    said = without_secrets(str(error).partition("\n")[0])[:500]
    return BadInputError(f"MLflow cannot keep the run: {said}", "look after the store, then export again")


def send(run: Contents, *, force: bool = False) -> None:
    """Write a run into the store that MLFLOW_TRACKING_URI names: whole, or what was written is deleted again.

    With `force` what an earlier export of this run made there is deleted once this one is whole. Raises BadInputError where
    the variable is not set, a harness still writes the run, it is there already, or the store does not take it.
    """
    uri = os.environ.get(TRACKING_URI)
    if not uri:
        raise BadInputError(f"{TRACKING_URI} is not set", "set it to the store's address, or give --output instead")
    refuse_unfinished(run.paths)
    try:
        with connected(uri) as client:
            _send(client, run, force=force)
    except OSError as error:  # those of a connection too
        raise _refused(error) from None


def _send(client: Any, run: Contents, *, force: bool) -> None:
    found = client.get_experiment_by_name(run.experiment)
    experiment = found.experiment_id if found else client.create_experiment(run.experiment)
    earlier = _runs_of(client, experiment, run.name)
    if earlier and not force:
        raise BadInputError(f"{run.name} is in the store already", "replace it with --force")
    made: list[str] = []
    try:
        record(client, experiment, run, lambda info, file: client.log_artifact(info.run_id, str(file)), made)
    except BaseException:
        _delete(client, made)
        raise
    _delete(client, earlier)


def record(client: Any, experiment: str, run: Contents, keep: Keep, made: list[str]) -> None:
    """Make the runs of a sweep in an experiment of MLflow's; the id of each is added to `made` as soon as it is there."""
    trials = list(trials_of(run))
    tags = {
        "mlflow.note.content": str(mapping(run.manifest.get("experiment")).get("description") or ""),
        "harness.version": __version__,
        "harness.command": str(run.manifest.get("command", "")),
        "harness.directory": str(run.paths.root),
        "harness.units": json.dumps({each.name: each.unit for trial in trials for each, _ in trial.numbers}),
        **{f"harness.{name.replace(' ', '_')}": value for name, value in essentials(run.manifest)},
    }
    began, ended = min(trial.began for trial in trials), max(trial.ended for trial in trials)

    def begin(name: str, moment: float, said: Mapping[str, str]) -> Any:
        kept = {key: _text(value) for key, value in {**said, _RUN_TAG: run.name}.items() if value}
        info = client.create_run(experiment, start_time=_milliseconds(moment), run_name=name, tags=kept).info
        made.append(info.run_id)
        return info

    parent = begin(run.paths.root.name, began, tags)
    asked = mapping(run.manifest.get("experiment")).get("parameters")
    _log(client, parent.run_id, dict(flatten(mapping(asked))), ())
    for file in (run.paths.manifest, run.paths.report, *(run.paths.root / name for name in run.tables)):
        if file.is_file():
            keep(parent, file)
    for trial in trials:
        texts = {f"harness.{name}": value for name, value in trial.texts.items()}
        if (logs := run.paths.trial(trial.id)).is_dir():
            texts["harness.directory"] = str(logs)
        whole = {
            "mlflow.parentRunId": parent.run_id,
            "harness.trial": trial.id,
            "harness.status": trial.status,
            **texts,
        }
        child = begin(trial.id, trial.began, whole)
        _log(client, child.run_id, trial.settings, _metrics(trial))
        status = "FAILED" if trial.status == "failed" else "FINISHED"
        client.set_terminated(child.run_id, status, _milliseconds(trial.ended))
    client.set_terminated(parent.run_id, "FINISHED", _milliseconds(ended))


def _metrics(trial: Trial) -> Iterator[tuple[str, float, float, int]]:
    """Key, value, moment and step of every number."""
    for column, value in trial.numbers:
        yield column.name, value, trial.ended, 0
    for point in trial.points:
        group = "epoch" if point.rank is None else f"rank{point.rank}"
        yield f"{group}/{point.column.name}", point.value, point.moment, point.epoch


def _log(
    client: Any, run: str, settings: Mapping[str, object], metrics: Iterable[tuple[str, float, float, int]]
) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415 - as in `connected`

    params = [Param(_key(name), _text(value)) for name, value in settings.items() if value != ""]
    points = [Metric(_key(key), value, _milliseconds(moment), step) for key, value, moment, step in metrics]
    for kind, items in ("params", params), ("metrics", points):
        for start in range(0, len(items), _MOST[kind]):
            client.log_batch(run, **{kind: items[start : start + _MOST[kind]]})


def _runs_of(client: Any, experiment: str, name: str) -> list[str]:
    """The ids of the runs that an earlier export of a run has made."""
    found: list[str] = []
    token = None
    while token != "":
        alike = name.replace("'", "_")  # which stands for any character
        page = client.search_runs([experiment], f"tags.`{_RUN_TAG}` LIKE '{alike}'", page_token=token)
        found += [each.info.run_id for each in page if each.data.tags.get(_RUN_TAG) == name]
        token = page.token or ""
    return found


def _delete(client: Any, runs: Iterable[str]) -> None:
    for each in runs:
        client.delete_run(each)


def _milliseconds(moment: float) -> int:
    return max(0, round(1000 * moment))


def _key(name: str) -> str:
    return _NOT_IN_KEYS.sub("_", name)


def _text(value: object) -> str:
    """As MLflow takes it: not too long, and without lone surrogates."""
    return str(value)[:_LONGEST].encode(errors="replace").decode()
