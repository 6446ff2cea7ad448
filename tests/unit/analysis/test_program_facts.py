"""Which parameters play which part: from the manifest, or for earlier runs from the description that comes along."""

from __future__ import annotations

import ast
from typing import Any

import pandas as pd
import pytest
from report_runs import epochs_of, manifest, trial

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.program import Program, read_program
from harness.experiment.catalog import bundled_programs
from harness.experiment.program import Program as Description
from harness.paths import REPOSITORY
from harness.predict.measurements import measured_series, sharing_ranks

VOLUNTEERS: dict[str, Any] = {
    "command": "forest.py",
    "roles": {"boss": {"count": 1, "on": "first", "ends": "serves"}, "volunteer": {}, "shelf": {"ends": "serves"}},
    "batch": "chunk",
    "epochs": "rounds",
    "seed": "luck",
    "control": {"together": False},
}


def run_of(*rows: dict[str, Any], **axes: list[Any]) -> Analysis:
    about = manifest(sorted({row["nodes"] for row in rows}), **axes)
    about["experiment"]["program"] = "forest.py"
    about["programs"] = {"forest.py": VOLUNTEERS}
    epochs = [epoch for row in rows for epoch in epochs_of(row)]
    return analyse(pd.DataFrame(rows), pd.DataFrame(epochs), pd.DataFrame(), about)


def test_the_manifest_describes_the_program() -> None:
    found = read_program({"experiment": {"program": "forest.py"}, "programs": {"forest.py": VOLUNTEERS}})
    assert found == Program(
        "forest.py", "chunk", "rounds", "luck", (), {"together": False}, finishing=("volunteer",), sharing=("shelf",)
    )


def test_earlier_runs_are_read_with_the_description_that_comes_along() -> None:
    found = read_program({"experiment": {"program": "train.py"}})
    assert (found.finishing, found.sharing) == (("worker",), ("server",))
    assert found.control
    assert found.batch


@pytest.mark.parametrize("about", [{}, {"experiment": {"program": "../../x.py"}}, {"programs": [], "experiment": 3}])
def test_what_nobody_describes_is_a_plain_program(about: dict[str, Any]) -> None:
    assert read_program(about).finishing == ("worker",)
    assert not read_program(about).control


def test_the_control_is_what_the_description_says() -> None:
    rows = [trial(2, together=True), trial(2, trial="c", together=False)]
    found = run_of(*rows, together=[True, False])
    assert [(one.label, one.control) for one in found.series] == [("True", False), ("False", True)]
    assert found.efficiency_basis == "independent"
    assert found.trials.set_index("trial")["efficiency"].dropna().to_dict() == {"n02-r1": 1.0}


def test_workers_are_the_ranks_of_the_roles_that_finish() -> None:
    found = run_of(trial(2, volunteers=1, boss=1))
    assert found.points["worker_batch"].iloc[0] == found.points["global_batch"].iloc[0]


def test_batches_of_one_curve_are_fitted_together_whatever_they_are_called() -> None:
    rows = [trial(n, trial=f"{n}-{chunk}", chunk=chunk, batch_size=None) for n in (1, 2) for chunk in (8, 16)]
    epochs = pd.DataFrame([epoch for row in rows for epoch in epochs_of(row)])
    assert len(measured_series(run_of(*rows, chunk=[8, 16]), pd.DataFrame(rows), epochs)) == 1


def test_shares_of_the_parameters_lie_on_the_ranks_that_serve_everywhere() -> None:
    rows = pd.DataFrame([{"trial": "a", "servers": 3, "shelfs": 2}, {"trial": "b", "servers": 3, "shelfs": None}])
    assert sharing_ranks(rows, ["shelf"]).to_dict() == {"a": 2, "b": 0}
    assert sharing_ranks(rows, ["other"]).to_dict() == {"a": 0, "b": 0}


@pytest.mark.parametrize("package", ["analysis", "report", "predict", "display"])
def test_no_parameter_of_a_program_is_spelled_in_the_analysis(package: str) -> None:
    names = {name for each in bundled_programs() for name in (each.batch, each.limit, *each.control) if name}
    assert names
    names -= set(Description.model_fields)  # a description's own keys
    sources = sorted((REPOSITORY / "harness" / package).rglob("*.py"))
    literals = {
        (source.name, node.value)
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found = {(file, value) for file, value in literals if value in names}
    assert found == set()
