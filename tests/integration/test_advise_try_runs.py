"""`harness advise --try` on nodes that are this machine: the best strategies run, and what was expected stands beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_nodes import write_inventory
from training_job import runtime_python

# A step takes what it says, so that how far off the advice is is known: 3 ms an image alone, and 30 ms more to meet by `often`.
PROGRAM = """\
import argparse, json, os, sys

FAILS_ON = "no way"
parser = argparse.ArgumentParser()
for name, kind in (("model", str), ("dataset", str), ("batch", int), ("rounds", int), ("most", int), ("way", str)):
    parser.add_argument(f"--{name}", type=kind, default=10 if name == "batch" else None)
options = parser.parse_args()
rank, nodes = int(os.environ["HARNESS_RANK"]), int(os.environ["HARNESS_WORLD_SIZE"])
print(json.dumps({"event": "ready", "rank": rank, "parameters": 10}), flush=True)
if options.way == FAILS_ON:
    sys.exit(7)
steps = options.most // (options.batch * nodes)
seconds = 0.003 * options.batch + {"often": 0.03, "seldom": 0.003, "alone": 0.0}[options.way]
for round_ in range(1, options.rounds + 1):
    extra = 10.0 if round_ == 1 else 0.0  # the first is not counted
    print(json.dumps({"event": "epoch", "rank": rank, "epoch": round_, "steps": steps, "images": steps * options.batch,
                      "train_seconds": steps * seconds + extra}), flush=True)
"""

ESTIMATES = """\
import json, sys

def answer(question):
    given = dict(word[2:].split("=") for word in question["arguments"])
    nodes, way = question["ranks"]["worker"], given.get("way", "alone")
    steps = int(given.get("most", 8000)) // (int(given.get("batch", 10)) * nodes)
    meetings = {"often": steps, "seldom": steps / 10, "alone": 0}[way]
    return {"steps": steps, "operations": 1e6, "traffic": {"meetings": meetings, "sent_bytes": 1000, "phased_bytes": 1000,
            "hides": False, "exact": way != "seldom", "one_model": True}}

print(json.dumps([answer(question) for question in json.load(sys.stdin)]))
"""

DESCRIPTION = """\
description: Train in no time.
command: mine.py
events: true
batch: batch
epochs: rounds
limit: most
subject: [model, dataset]
alone: {way: alone}
control: {way: alone}
estimates: estimates.py
strategies:
  meet often: {way: often}
  meet seldom: {way: seldom}
roles:
  worker: {on: each, ends: finishes}
parameters:
  model: {type: choice, choices: [lenet5, tiny], default: tiny, help: What is trained.}
  dataset: {type: choice, choices: [dots], default: dots, help: What on.}
  batch: {type: int, minimum: 1, default: 10, help: Images of a step.}
  rounds: {type: int, minimum: 1, default: 2, help: How often.}
  most: {type: int, minimum: 1, default: null, help: So many images.}
  way: {type: choice, choices: [often, seldom, alone], default: often, help: When they meet.}
"""


class Place:
    """A directory with a program of its own, and two nodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        hosts = {f"t-{number}": f"127.0.84.{number}" for number in (1, 2)}
        self.inventory = write_inventory(directory / "hosts.json", directory / ".nodes", hosts, node_profile="pi3")
        for name, text in (("mine.py", PROGRAM), ("estimates.py", ESTIMATES), ("mine.program.yaml", DESCRIPTION)):
            (directory / name).write_text(text, encoding="utf-8")

    def advise(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
        return subprocess.run(
            [sys.executable, "-m", "harness", "advise", *arguments], cwd=self.directory, capture_output=True, text=True,
            timeout=300, check=False,
            env={**kept, "COLUMNS": "200", "HARNESS_CACHE_DIR": str(self.directory / ".cache")},
        )  # fmt: skip

    def own(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        rates = self.directory / "rates.csv"
        rates.write_text(
            "# program: mine.py\nnode,address,fixed_milliseconds,image_milliseconds\n"
            "t-1,127.0.84.1,0,2\nt-2,127.0.84.2,0,2\n", encoding="utf-8",
        )  # fmt: skip
        shared = ("tiny", "dots", "--program", "mine.py", "-i", str(self.inventory))
        return self.advise(*shared, "--rates", str(rates), "--try", *arguments)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def tried_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(done.stdout)["tried"]["options"]}


def test_what_was_expected_stands_beside_what_was_measured(place: Place) -> None:
    done = place.own("--steps", "20", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    tried = tried_of(done)
    assert set(tried) == {"meet seldom", "meet often", "one node"}
    often, alone = tried["meet often"], tried["one node"]
    assert (often["nodes"], alone["nodes"]) == (2, 1)
    assert often["expected_step_seconds"] == pytest.approx(
        0.0206, rel=0.01
    )  # 20 ms of computing, 0.5 of messages, the bytes
    assert often["measured_step_seconds"] == pytest.approx(0.06)
    assert often["off"] == pytest.approx(0.06 / often["expected_step_seconds"] - 1)
    assert alone["expected_step_seconds"] == pytest.approx(0.02)
    assert alone["off"] == pytest.approx(0.5)
    assert alone["epoch_seconds"] == pytest.approx(800 * 0.03)
    assert tried["meet seldom"]["measured_step_seconds"] == pytest.approx(0.033)
    answer = json.loads(done.stdout)["tried"]["answer"]
    assert answer.startswith(
        "measured, meet seldom on 2 nodes is the quickest, as expected; seconds a step are off by 6"
    )
    run = place.directory / json.loads(done.stdout)["tried"]["run"]
    assert (run / "trials.csv").is_file()
    assert (run / "trials/n01-r1-best3_one_node").is_dir()


def test_the_table_and_the_exit_code_say_what_failed(place: Place) -> None:
    (place.directory / "mine.py").write_text(PROGRAM.replace("no way", "often"), encoding="utf-8")
    done = place.own()
    assert done.returncode == 1, done.stdout + done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith(" meet often") and "failed" in line)
    assert row[:3] == ["meet", "often", "2"]
    assert "Nothing was run" not in done.stdout
    assert "exited with status 7" in done.stderr


def test_nodes_that_are_not_fit_are_refused(place: Place) -> None:
    done = place.advise("lenet5", "digits", "-i", str(place.inventory), "--try")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "provision" in done.stderr


@pytest.mark.mxnet
def test_a_real_model_on_this_machine(place: Place) -> None:
    (place.directory / ".nodes").mkdir(exist_ok=True)
    (place.directory / ".nodes" / "runtime").symlink_to(Path(runtime_python()).parents[1])
    done = place.advise("lenet5", "digits", "-i", str(place.inventory), "--try", "--steps", "3", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    tried = tried_of(done)
    assert len(tried) == 3
    assert all(each["measured_step_seconds"] > 0 for each in tried.values())
