"""A stranger's own program: one file, a short description and a short experiment, swept, resumed and reported."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_nodes import write_inventory

PROGRAM = """\
import json, os, sys

number, count = int(os.environ["HARNESS_RANK"]), int(os.environ["HARNESS_WORLD_SIZE"])
print("arguments", *sys.argv[1:], flush=True)
print(json.dumps({"event": "ready", "rank": number, "parameters": 3}), flush=True)
for epoch in (1, 2):
    print(json.dumps({"event": "epoch", "rank": number, "epoch": epoch, "steps": 1, "images": 10, "train_seconds": 0.5,
                      "validation_accuracy": 0.5 + 0.1 * epoch}), flush=True)
if os.environ.get("FAIL_ON") == os.environ["HARNESS_NODE"]:
    sys.exit(7)
"""

DESCRIPTION = """\
description: Count to three.
command: mine.py
events: true
epochs: rounds
roles:
  worker: {on: each, ends: finishes}
parameters:
  rounds: {type: int, minimum: 1, default: 2, help: How often.}
  colour: {type: choice, choices: [red, blue], default: red, help: What is counted.}
"""

EXPERIMENT = """\
name: mine
description: Two colours on one and two nodes.
program: mine.py
parameters:
  rounds: 2
  colour: red
axes:
  nodes: 1-2
  colour: [red, blue]
"""


class Stranger:
    """A directory with the three files, and an inventory of two nodes, and of a host that does not count, all this machine and
    without a runtime."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        hosts: dict[str, str | dict[str, object]] = {f"s-{number}": f"127.0.17.{number}" for number in (1, 2)}
        hosts["boss"] = {"ansible_host": "127.0.17.9", "node_counts": False}
        self.inventory = write_inventory(directory / "hosts.json", directory / ".nodes", hosts)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.directory / name.replace("__", ".")).write_text(text, encoding="utf-8")

    def harness(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb in the directory."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments], cwd=self.directory, capture_output=True, text=True, timeout=300,
            check=False, env={**kept, "HARNESS_INVENTORY": str(self.inventory), "COLUMNS": "200",
                 "HARNESS_CACHE_DIR": str(self.directory / ".cache")},
        )  # fmt: skip

    def rows(self, name: str, run: str = "mine/latest") -> list[dict[str, str]]:
        """A table of a run."""
        text = (self.directory / "results" / run / f"{name}.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path)


def test_a_one_line_program_runs_once_a_node(stranger: Stranger) -> None:
    stranger.write(one__py="print('here')\n", one__yaml="name: one\nprogram: one.py\naxes: {nodes: 2}\n")
    done = stranger.harness("sweep", "one.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = stranger.rows("ranks", "one/latest")
    assert [(row["role"], row["rank"], row["node"], row["exit_code"]) for row in ranks] == [
        ("worker", "0", "s-1", "0"),
        ("worker", "1", "s-2", "0"),
    ]


def test_it_is_swept_resumed_and_reported(stranger: Stranger) -> None:
    stranger.write(mine__py=PROGRAM, mine__program__yaml=DESCRIPTION, mine__yaml=EXPERIMENT)
    done = stranger.harness("sweep", "mine.yaml", "--env", "FAIL_ON=s-2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "exited with status 7" in done.stderr
    assert [(row["trial"], row["status"], row["colour"]) for row in stranger.rows("trials")] == [
        ("n01-r1-colour_red", "ok", "red"),
        ("n01-r1-colour_blue", "ok", "blue"),
        ("n02-r1-colour_red", "failed", "red"),
        ("n02-r1-colour_blue", "failed", "blue"),
    ]
    changed = stranger.harness("sweep", "mine.yaml", "--resume", "results/mine/latest")
    assert changed.returncode == 2
    assert "ran another experiment" in changed.stderr

    again = stranger.harness("sweep", "mine.yaml", "--env", "FAIL_ON=nobody")
    assert again.returncode == 0, again.stdout + again.stderr
    run = stranger.directory / "results" / "mine" / "latest"
    (run / "trials" / "n02-r1-colour_red" / "trial.json").unlink()
    resumed = stranger.harness("sweep", "mine.yaml", "--env", "FAIL_ON=nobody", "--resume", str(run))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "1 trials" in resumed.stderr
    assert {row["status"] for row in stranger.rows("trials")} == {"ok"}
    assert len(stranger.rows("epochs")) == 2 * 2 * (1 + 2)
    assert "arguments --rounds=2 --colour=blue" in (run / "trials/n02-r1-colour_blue/worker1.log").read_text("utf-8")

    (run / "report.html").unlink()
    reported = stranger.harness("report", "results/mine/latest")
    assert reported.returncode == 0, reported.stdout + reported.stderr
    assert "colour blue" in (run / "report.html").read_text(encoding="utf-8") or "blue" in reported.stdout


def test_a_changed_program_is_another_experiment(stranger: Stranger) -> None:
    stranger.write(mine__py=PROGRAM, mine__program__yaml=DESCRIPTION, mine__yaml=EXPERIMENT)
    assert stranger.harness("sweep", "mine.yaml", "--nodes", "1").returncode == 0
    stranger.write(mine__py=PROGRAM.replace("10", "11"))
    done = stranger.harness("sweep", "mine.yaml", "--nodes", "1", "--resume", "results/mine/latest")
    assert done.returncode == 2
    assert "ran another experiment" in done.stderr


ROLES = """\
command: split.sh
roles:
  boss: {on: "host:boss", ends: serves}
  worker: {count: workers, may_die: 1, joins: any}
  driver: {on: controller}
parameters:
  workers: {type: int, help: How many.}
  quick: {type: bool, default: true, help: How.}
"""
SCRIPT = """\
#!/bin/sh
echo "$HARNESS_ROLE $HARNESS_RANK/$HARNESS_WORLD_SIZE on $HARNESS_NODE: $HARNESS_CORES, $HARNESS_MEMORY_BYTES: $*"
case "$HARNESS_ROLE$HARNESS_RANK" in
  worker1) exit 3;;
  boss*) trap 'exit 0' TERM; while :; do sleep 0.1; done;;
esac
"""


def test_a_program_that_is_no_python_has_roles_in_all_places(stranger: Stranger) -> None:
    """A host outside the count, the controller, and a worker that dies and is not missed; each is told what it has."""
    stranger.write(split__sh=SCRIPT, split__program__yaml=ROLES)
    stranger.write(
        split__yaml="name: split\nprogram: split.sh\nparameters: {workers: 2, quick: false}\naxes: {nodes: 2}\n"
    )
    done = stranger.harness("sweep", "split")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worker1 on s-2: exited with status 3; the trial goes on without it" in done.stderr
    places = [(row["role"], row["node"], row["exit_code"]) for row in stranger.rows("ranks", "split/latest")]
    assert places == [
        ("boss", "boss", "0"),
        ("worker", "s-1", "0"),
        ("worker", "s-2", "3"),
        ("driver", "controller", "0"),
    ]
    logs = stranger.directory / "results" / "split" / "latest" / "trials" / "n02-r1"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    has = f"{os.cpu_count()}, {memory}"
    assert (logs / "driver0.log").read_text("utf-8") == f"driver 0/1 on controller: {has}: --workers=2 --no-quick\n"
    assert (logs / "worker0.log").read_text("utf-8") == f"worker 0/2 on s-1: {has}: --workers=2 --no-quick\n"
    (row,) = stranger.rows("trials", "split/latest")
    assert (row["workers"], row["drivers"], row["quick"]) == ("2", "1", "False")

    refused = stranger.harness("plan", "split", "--set", "workers=-1")
    assert (refused.returncode, "there cannot be -1 workers" in refused.stderr) == (2, True), refused.stderr
    cleaned = stranger.harness("clean")
    assert "boss: " in cleaned.stdout, cleaned.stdout + cleaned.stderr


def test_launched_ranks_are_told_what_their_node_has(stranger: Stranger) -> None:
    stranger.write(say__py="import os; print(os.environ['HARNESS_CORES'], os.environ['HARNESS_MEMORY_BYTES'])\n")
    done = stranger.harness("launch", "-n", "1", "--framework", "plain", "--", "python", "say.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"worker0: {os.cpu_count()} "), done.stdout


@pytest.mark.parametrize("results", ["results", "."])
def test_results_of_earlier_runs_are_no_part_of_the_program(stranger: Stranger, results: str) -> None:
    stranger.write(one__py="print('here')\n", one__yaml="name: one\nprogram: one.py\n")
    assert stranger.harness("sweep", "one.yaml", "-o", results).returncode == 0
    again = stranger.harness("sweep", "one.yaml", "-o", results, "--resume", f"{results}/one/latest")
    assert again.returncode == 0, again.stderr
