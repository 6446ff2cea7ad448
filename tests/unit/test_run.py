"""Which runs are resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.agent import Code
from harness.errors import BadInputError
from harness.experiment import Experiment, validate
from harness.manifest import experiment_digest
from harness.redaction import kept_experiment
from harness.run import resumed

CODE = Code({})


def declared(**parameters: int) -> Experiment:
    document = {"name": "e", "program": "train.py", "parameters": parameters, "axes": {"nodes": [1]}}
    return validate(document, "test")


def run_of(directory: Path, experiment: Experiment, **cluster: Any) -> Path:
    manifest = {
        "experiment": kept_experiment(experiment).model_dump(),
        "experiment_sha256": experiment_digest(experiment),
        "code_sha256": CODE.hash,
        "cluster": cluster,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def test_the_same_again_is_resumed_also_where_the_manifest_is_an_older_harness_s(tmp_path: Path) -> None:
    assert resumed(run_of(tmp_path, declared(epochs=2)), declared(epochs=2), CODE, None, 1.0).root == tmp_path


def test_a_changed_variable_is_named_and_a_secret_is_not(tmp_path: Path) -> None:
    def given(token: str, bound: str) -> Experiment:
        return declared().model_copy(update={"environment": {"API_TOKEN": token, "BOUND": bound}})

    run = run_of(tmp_path, given("hush", "1"))
    assert resumed(run, given("hush hush", "1"), CODE, None, 1.0).root == tmp_path
    with pytest.raises(BadInputError, match=r"'BOUND': '1'\} -> .*'BOUND': '2'\}") as caught:
        resumed(run, given("hush", "2"), CODE, None, 1.0)
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("experiment", "code", "dilation", "changed"),
    [
        (declared(epochs=3), CODE, 2.0, r"parameters: \{'epochs': 2\} -> \{'epochs': 3\}"),
        (declared(epochs=2), Code({"train.py": b""}), 2.0, "the programs in experiments/"),
        (declared(epochs=2), CODE, 3.0, "time dilation: 2 -> 3"),
    ],
)
def test_what_changed_is_refused_by_name(
    tmp_path: Path, experiment: Experiment, code: Code, dilation: float, changed: str
) -> None:
    run = run_of(tmp_path, declared(epochs=2), time_dilation=2.0)
    with pytest.raises(BadInputError, match=changed):
        resumed(run, experiment, code, None, dilation)
