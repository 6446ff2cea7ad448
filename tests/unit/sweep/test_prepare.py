"""What a run is prepared from, and which earlier runs are resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launch_parts import CLUSTER

from harness.check.preflight import Preflight
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, validate
from harness.launch.code import ProgramCode
from harness.launch.limits import Limits
from harness.launch.placement import SentCode
from harness.nodes.agent import Code
from harness.results.earlier_run import open_earlier_run
from harness.results.manifest import LAYOUT, experiment_digest
from harness.results.redaction import kept_experiment
from harness.results.run_paths import RunPaths
from harness.sweep.admit import Admitted
from harness.sweep.options import Policy, RunOptions
from harness.sweep.prepare import prepare

CODE = Code({"programs/train.py": b""})


def code_with(agent: Code) -> ProgramCode:
    return ProgramCode(agent, (), SentCode(agent.hash, {"train.py": f"{agent.hash}/programs/train.py"}))


OPTIONS = RunOptions(Limits(), Policy(), 5, quiet=True)


def declared(**parameters: int) -> Experiment:
    document = {"name": "e", "program": "train.py", "parameters": parameters, "axes": {"nodes": [1]}}
    return validate(document, "test")


def resumed(run: Path, experiment: Experiment, code: Code, rates: None, dilation: float) -> RunPaths:
    cluster = replace(CLUSTER, time_dilation=dilation)
    prepared = prepare(experiment, cluster, OPTIONS, code_with(code), rates=rates, earlier=open_earlier_run(run))
    assert prepared.earlier
    return prepared.earlier.paths


def run_of(directory: Path, experiment: Experiment, **cluster: Any) -> Path:
    manifest = {
        "layout": LAYOUT,
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
        (declared(epochs=2), Code({"programs/train.py": b"print()"}), 2.0, "the programs or files beside them: "),
        (declared(epochs=2), CODE, 3.0, "time dilation: 2 -> 3"),
    ],
)
def test_what_changed_is_refused_by_name(
    tmp_path: Path, experiment: Experiment, code: Code, dilation: float, changed: str
) -> None:
    run = run_of(tmp_path, declared(epochs=2), time_dilation=2.0)
    with pytest.raises(BadInputError, match=changed):
        resumed(run, experiment, code, None, dilation)


@pytest.mark.parametrize(
    "layout", [{}, {"layout": LAYOUT - 1}, {"layout": LAYOUT + 1}, {"layout": True}, {"layout": "2"}]
)
def test_a_run_of_another_layout_is_refused_with_its_version(tmp_path: Path, layout: dict[str, object]) -> None:
    run = run_of(tmp_path, declared(epochs=2))
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["layout"]
    (run / "manifest.json").write_text(json.dumps({**manifest, **layout, "versions": {"harness": "0.1.0"}}))
    with pytest.raises(BadInputError, match=r"version 0\.1\.0 of the harness, whose runs this one cannot continue"):
        resumed(run, declared(epochs=2), CODE, None, 1.0)


@pytest.mark.parametrize("torn", [b"", b"{", b'{"layout": 2', b"\0\0", b"\xff", b"[" * 100_000, b"[]", b"5", b"null"])
def test_a_torn_manifest_is_named(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(torn)
    with pytest.raises(BadInputError, match=r"manifest\.json is (torn|no manifest)") as caught:
        open_earlier_run(tmp_path)
    assert "put it back" in caught.value.remedy


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("experiment", None), ("experiment", []), ("experiment_sha256", 5), ("code_sha256", None), ("cluster", "x"),
        ("cluster", {"time_dilation": "2"}), ("cluster", {"time_dilation": None}),
    ],
)  # fmt: skip
def test_an_odd_manifest_is_named_with_its_key(tmp_path: Path, key: str, value: object) -> None:
    run = run_of(tmp_path, declared())
    manifest = {**json.loads((run / "manifest.json").read_text()), key: value}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match=f"its ({key}|time_dilation) is"):
        open_earlier_run(run)


def test_trials_nodes_and_spare_ones() -> None:
    experiment = validate({"name": "e", "program": "train.py", "parameters": {}, "axes": {"nodes": [1, 2]}}, "test")
    prepared = prepare(experiment, CLUSTER, OPTIONS, code_with(CODE))
    assert [trial.id for trial in prepared.trials] == ["n01-r1", "n02-r1"]
    assert ([node.name for node in prepared.nodes], prepared.spare) == (["a", "b"], ())
    again = prepare(experiment, CLUSTER, replace(OPTIONS, policy=Policy(retries=1)), code_with(CODE))
    assert [node.name for node in again.spare] == ["c"]


def test_nodes_that_nobody_looked_at_do_not_stand_in() -> None:
    """Without retries there are no spare nodes, and a node in quarantine is not followed by one that is not held."""
    experiment = validate({"name": "e", "program": "train.py", "parameters": {}, "axes": {"nodes": [2]}}, "test")
    prepared = prepare(experiment, CLUSTER, OPTIONS, code_with(CODE))
    assert Admitted(prepared, Preflight(), (), ()).unfit == {"c"}
    prepared = prepare(experiment, CLUSTER, replace(OPTIONS, policy=Policy(retries=1)), code_with(CODE))
    assert Admitted(prepared, Preflight(), prepared.spare, ()).unfit == frozenset()


def test_what_does_not_fit_is_refused_before_any_node_is_asked() -> None:
    too_large = validate({"name": "e", "program": "train.py", "parameters": {}, "axes": {"nodes": [4]}}, "test")
    with pytest.raises(BadInputError):
        prepare(too_large, CLUSTER, OPTIONS, code_with(CODE))
