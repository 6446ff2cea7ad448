"""The way of an experiment from the command line to its report: from module to module, and never into one from two places."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from harness.cli import app as cli
from harness.contract.events import Event
from harness.experiment.catalog import find_program
from harness.experiment.declaration import Experiment
from harness.experiment.program import Program
from harness.launch.code import packaged_code
from harness.launch.launcher import Launcher, Observer, Outcome
from harness.launch.placement import Placement
from harness.sweep.admit import Admitted
from harness.sweep.prepare import Prepared

MOVES = 20
# They are on the way before there is an experiment, and after.
WITHOUT_IT = {
    ("harness.cli.running.sweep", "sweep"),
    ("harness.cli.inputs", "find_cluster"),
    ("harness.cli.results.report", "report_on"),
}
EXPERIMENT = """\
name: e
program: train.py
parameters: {epochs: 1, batch_size: 64, kvstore: none, dataset: digits}
axes: {nodes: [1, 2], repeats: 1}
"""


def launched(_: Launcher, placement: Placement, observer: Observer, **__: object) -> Outcome:
    for worker in placement.with_role("worker"):
        values = {"rank": worker.number, "epoch": 1, "train_seconds": 1.0, "images": 500}
        observer.event(worker, Event("epoch", values))
    return Outcome("ok", datetime.now(UTC), total_seconds=1.0)


class Way:
    """Calls from the verb, or from a function that is handed the experiment or what it has become, into other modules.

    Asking or making a value (a frozen dataclass, a model), and entering and leaving a `with` are no moves. The first
    call into the report is the last.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        """The function, and the module and function that it calls: each place of the code that calls once, in order."""
        self._seen: set[tuple[str, int, str]] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        module = module_of(frame)
        caller = frame.f_back
        while caller is not None and not module_of(caller).startswith("harness."):
            caller = caller.f_back
        if event != "call" or not module.startswith("harness.") or caller is None or module_of(caller) == module:
            return
        name = frame.f_code.co_name
        called = (frame.f_code.co_filename, caller.f_lineno, name)
        if name in ("__enter__", "__exit__") or called in self._seen or is_value(frame) or not is_on_the_way(caller):
            return
        self._seen.add(called)
        self.calls.append((f"{module_of(caller)}.{caller.f_code.co_name}", module, name))
        if module == "harness.report":  # its figures are made of very many calls
            sys.setprofile(None)

    @property
    def moves(self) -> list[tuple[str, str]]:
        """Calls one after the other from one module into another are one move."""
        found: list[tuple[str, str]] = []
        last: dict[str, str] = {}
        for caller, module, _ in self.calls:
            calling = caller.rpartition(".")[0]
            if last.get(calling) != module:
                found.append((calling, module))
            last[calling] = module
        return found


def module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def is_value(frame: FrameType) -> bool:
    """Whether the call asks or makes a value."""
    first = next(iter(frame.f_locals.values()), None)
    frozen = is_dataclass(first) and first.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return (frozen and "self" in frame.f_locals) or (isinstance(first, BaseModel) and "self" in frame.f_locals)


def is_on_the_way(frame: FrameType) -> bool:
    module, name = module_of(frame), frame.f_code.co_name
    if not module.startswith(("harness.cli.", "harness.sweep.")):
        return False
    handed = any(isinstance(value, Experiment | Prepared | Admitted) for value in frame.f_locals.values())
    return handed or (module, name) in WITHOUT_IT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The verb `sweep` on two nodes of this machine, whose ranks nobody starts."""
    variables: dict[str, Any] = {
        "cluster_kind": "local",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "node_root": str(tmp_path / "node"),
        "node_supervisor": "process",
    }
    hosts = {f"l-{number}": {"ansible_host": f"127.0.15.{number}"} for number in (1, 2)}
    (tmp_path / "hosts.yml").write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}))
    (tmp_path / "node" / "runtime").mkdir(parents=True)
    runtime = {"mxnet": "1", "python": "3", "stores": ["dist_sync"]}
    (tmp_path / "node" / "runtime" / "runtime.json").write_text(json.dumps(runtime))
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    monkeypatch.setattr(Launcher, "run", launched)

    def sweep(*options: str) -> None:
        words = ["sweep", str(tmp_path / "e.yaml"), "-i", str(tmp_path / "hosts.yml"), "-o", str(tmp_path / "results")]
        cli.app([*words, "--quiet", *options], standalone_mode=False)

    return sweep


def test_an_experiment_moves_at_most_so_often_and_enters_no_module_from_two_places(run: Callable[..., None]) -> None:
    way = Way()
    sys.setprofile(way)
    try:
        run()
    finally:
        sys.setprofile(None)
    shown = "\n".join(f"{caller} -> {module}.{name}" for caller, module, name in way.calls)
    entered = [module for _, module in way.moves]
    assert len(entered) <= MOVES, shown
    assert [module for module in set(entered) if entered.count(module) > 1] == [], shown
    assert {"harness.sweep.prepare", "harness.sweep.admit", "harness.sweep.execute", "harness.report"} <= set(entered)


def test_a_run_is_resumed_and_says_what_was_repaired(
    run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    latest = tmp_path / "results" / "e" / "latest"
    manifest = json.loads((latest / "manifest.json").read_text())
    assert manifest["layout"] == 2
    described = Program.model_validate(manifest["programs"]["train.py"])
    assert described.model_dump() == find_program("train.py").model_dump()
    (latest / "trials" / "n01-r1" / "trial.json").write_text("{")
    code = tmp_path / "node" / "code" / manifest["code_sha256"]
    assert code.name == packaged_code().hash
    (code / "agent" / "ranks.py").chmod(0o644)
    (code / "agent" / "ranks.py").write_text("")
    run("--resume", str(latest))
    said = " ".join(capsys.readouterr().err.split())
    assert "1 trials on" in said
    assert "(1 done before)" in said
    assert "trial n01-r1: its record is torn, so it is run again" in said
    assert "its copy of the code had been changed or damaged (agent/ranks.py), and was sent again" in said
    rows = (latest / "trials.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["trial", "n02-r1", "n01-r1"]
