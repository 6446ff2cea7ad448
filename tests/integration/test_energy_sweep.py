"""Sweeps of nodes that are this machine with simulated plugs: what plugs do decides nothing but what is known of energy."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from local_nodes import write_inventory
from plugs import Plug
from training_job import runtime_python

from harness.paths import EXPERIMENTS, REPOSITORY

PROGRAM = """\
import json, os, sys, time

def emit(event, **values):
    print(json.dumps({"event": event, "rank": int(os.environ["HARNESS_RANK"]), **values}), flush=True)

emit("ready", workers=int(os.environ["HARNESS_WORLD_SIZE"]))
for epoch in range(1, int(sys.argv[-1].partition("=")[2]) + 1):
    began = time.monotonic()
    time.sleep(0.5)
    seconds = time.monotonic() - began
    emit("epoch", epoch=epoch, steps=5, images=50, train_seconds=seconds, validation_accuracy=1 - 0.5 / epoch)
"""
DESCRIPTION = (
    "command: work.py\nevents: true\nepochs: rounds\nparameters:\n  rounds: {type: int, default: 3, help: Epochs.}\n"
)
EXPERIMENT = "name: work\nprogram: work.py\nparameters: {rounds: 3}\naxes: {nodes: 1-2}\n"
PASSWORD = "hunter2"  # noqa: S105 - of nothing


def sweep(directory: Path, experiment: str | Path, *arguments: str) -> str:
    """What a sweep said."""
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", "sweep", str(experiment), "-i", str(directory / "hosts.json"),
            "-o", str(directory / "results"), "--power-seconds", "0.2", *arguments,
        ],
        cwd=directory, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY), "HARNESS_CACHE_DIR": str(directory / ".cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def own_program(directory: Path) -> str:
    for name, text in {"work.py": PROGRAM, "work.program.yaml": DESCRIPTION, "work.yaml": EXPERIMENT}.items():
        (directory / name).write_text(text, encoding="utf-8")
    return "work"


def test_watts_become_joules_and_no_password_is_kept(tmp_path: Path) -> None:
    with Plug(3.0, password=PASSWORD) as first, Plug(5.0) as second, Plug(10.0) as switch:
        hosts = {
            "e-1": {
                "ansible_host": "127.0.43.1",
                "node_power_meter": first.address("shelly2", login=f"admin:{PASSWORD}@"),
            },
            "e-2": {"ansible_host": "127.0.43.2", "node_power_meter": second.address("tasmota", "?idle=1")},
        }
        write_inventory(tmp_path / "hosts.json", tmp_path / "node", hosts)
        meter = f"switch={switch.address('shelly1')}"
        said = sweep(
            tmp_path, own_program(tmp_path), "--power-meter", meter, "--idle-seconds", "1", "--kwh-price", "0.3"
        )
    run = tmp_path / "results" / "work" / "latest"
    rows = rows_of(run / "power.csv")
    assert {row["node"]: row["watts"] for row in rows if row["state"] == "busy"} == {
        "e-1": "3.0", "e-2": "5.0", "switch": "10.0",
    }  # fmt: skip
    assert {row["state"] for row in rows if row["node"] == "e-1"} == {"idle", "busy"}
    table = said.partition("Energy")[2]
    assert "energy" in table
    assert "cost" in table
    of_two = next(line.split() for line in table.splitlines() if line.split()[:1] == ["2"])
    watts, epoch = float(of_two[2]), float(of_two[3])
    assert watts == pytest.approx(18.0, rel=0.02)
    assert 8.7 < epoch < 15  # an epoch takes a little more than half a second
    assert "measured" in (run / "report.html").read_text(encoding="utf-8")
    for path in run.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    assert PASSWORD not in said


def test_plugs_that_die_or_never_answer_neither_end_nor_delay_a_sweep(tmp_path: Path) -> None:
    with Plug(3.0) as dying, Plug(5.0) as silent:
        silent.mood = "silent"
        hosts = {
            "e-1": {"ansible_host": "127.0.43.1", "node_power_meter": dying.address("shelly2", "?idle=1")},
            "e-2": {"ansible_host": "127.0.43.2", "node_power_meter": silent.address("shelly2", "?idle=1")},
        }
        write_inventory(tmp_path / "hosts.json", tmp_path / "node", hosts)

        def die() -> None:
            while len(dying.asked) < 5:
                time.sleep(0.05)
            dying.mood = "garbage"

        threading.Thread(target=die, daemon=True).start()
        said = sweep(tmp_path, own_program(tmp_path), "--nodes", "2", "--set", "rounds=10")
    run = tmp_path / "results" / "work" / "latest"
    (row,) = rows_of(run / "trials.csv")
    assert row["status"] == "ok"
    assert float(row["total_seconds"]) < 15  # five of training
    assert said.count("until it answers its samples are missing") == 2
    rows = rows_of(run / "power.csv")
    assert [row["watts"] for row in rows if row["node"] == "e-1" and row["state"] == "busy"][-1] == ""
    assert {row["watts"] for row in rows if row["node"] == "e-2" and row["state"] == "busy"} == {""}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "No energy is given where samples cover less than 90%" in page


@pytest.mark.mxnet
def test_quickstart_is_measured(tmp_path: Path) -> None:
    root = tmp_path / "node"
    root.mkdir()
    (root / "runtime").symlink_to(Path(runtime_python()).parents[1])
    with Plug(4.0) as plug:
        address = plug.address("shelly2")
        write_inventory(
            tmp_path / "hosts.json", root, {"e-1": {"ansible_host": "127.0.43.1", "node_power_meter": address}},
            node_threads=1,
        )  # fmt: skip
        said = sweep(tmp_path, EXPERIMENTS / "quickstart.yaml", "--nodes", "1", "--idle-seconds", "0.5")
    line = next(line.split() for line in said.partition("Energy")[2].splitlines() if line.split()[:1] == ["1"])
    assert float(line[2]) == pytest.approx(4.0, rel=0.02)
    (row,) = rows_of(tmp_path / "results" / "quickstart" / "latest" / "trials.csv")
    seconds = float(row["train_seconds"]) + float(row["validation_seconds"])
    assert float(line[3].replace(",", "")) == pytest.approx(4.0 * seconds / 5, rel=0.05)
