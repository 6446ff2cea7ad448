"""A sweep that is watched: by the page of `sweep --live`, and by `harness watch` beside it; nodes that are this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_nodes import write_inventory

PROGRAM = """\
import json, os, time

def emit(event, **values):
    print(json.dumps({"event": event, "rank": int(os.environ["HARNESS_RANK"]), **values}), flush=True)

emit("ready", workers=int(os.environ["HARNESS_WORLD_SIZE"]))
for epoch in (1, 2):
    for step in range(1, 6):
        time.sleep(0.15)
        emit("progress", epoch=epoch, step=step, steps=5)
    print(f"<script>alert(1)</script> at {time.time():.3f}", flush=True)
    emit("epoch", epoch=epoch, steps=5, images=50, train_seconds=0.75, validation_accuracy=0.4 + 0.1 * epoch)
    while not os.path.exists(os.environ["GO_ON"] + os.environ["HARNESS_WORLD_SIZE"]):
        time.sleep(0.05)
"""
DESCRIPTION = """\
command: slow.py
events: true
epochs: rounds
batch: batch
parameters:
  rounds: {type: int, default: 2, help: Epochs.}
  batch: {type: int, default: 10, help: Images of a step.}
"""
EXPERIMENT = "name: slow\nprogram: slow.py\nparameters: {rounds: 2}\naxes: {nodes: 1-2}\n"


class Sweeper:
    """A directory with an experiment of two trials on two nodes that are this machine; each waits until it may end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        hosts = {f"w-{number}": f"127.0.41.{number}" for number in (1, 2)}
        write_inventory(directory / "hosts.json", directory / ".nodes", hosts)
        files = {"slow.py": PROGRAM, "slow.program.yaml": DESCRIPTION, "slow.yaml": EXPERIMENT}
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")

    def let_end(self, nodes: int) -> None:
        """The trial on so many nodes."""
        (self.directory / f"end{nodes}").touch()

    @contextmanager
    def harness(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A verb that serves a page, and where that is; it is ended after the block, if it has not ended."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**kept, "HARNESS_INVENTORY": str(self.directory / "hosts.json"), "COLUMNS": "200",
                 "GO_ON": str(self.directory / "end"), "HARNESS_CACHE_DIR": str(self.directory / ".cache")},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            said = []
            while not (line := process.stdout.readline()).startswith("live page: "):
                said.append(line)
                assert line, "".join(said)
            yield process, line.removeprefix("live page: ").strip()
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=30)


def state_of(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}state.json", timeout=10) as answer:  # noqa: S310 - ours
        found: dict[str, Any] = json.load(answer)
        return found


def until(url: str, so: Callable[[dict[str, Any]], Any], seconds: float = 60) -> dict[str, Any]:
    """The first state that is so."""
    end = time.monotonic() + seconds
    while not so(state := state_of(url)):
        assert time.monotonic() < end, state
        time.sleep(0.1)
    return state


@pytest.fixture
def sweeper(tmp_path: Path) -> Sweeper:
    return Sweeper(tmp_path)


def test_a_sweep_is_followed_from_inside_and_beside_it(sweeper: Sweeper) -> None:
    with sweeper.harness("sweep", "slow", "--live", "--telemetry", "0.5", "--env", "GO_ON") as (sweep, url):
        assert state_of(url)["phase"] in ("waiting", "running")
        state = until(url, lambda state: state.get("courses"))
        (*_, said) = [line for log in state["logs"] for line in log["lines"] if line.startswith("<script>alert(1)<")]
        assert time.time() - float(said.split()[-1]) < 2
        assert (state["phase"], state["current"]["trial"], state["current"]["runs"]) == ("running", "n01-r1", True)
        assert "images/s" in dict(state["current"]["facts"])
        assert state["progress"]["text"] == "0 of 2 trials done, 1 running, 1 left"
        with sweeper.harness("watch") as (watch, other):
            assert other != url
            assert state_of(other)["current"]["trial"] == "n01-r1"
            sweeper.let_end(1)
            state = until(other, lambda state: state["current"]["trial"] == "n02-r1")
            assert (state["phase"], state["progress"]["left"][:5]) == ("running", "about")
            state = until(other, lambda state: all(node["cells"][0] != "–" for node in state["nodes"]))  # noqa: RUF001
            assert [node["node"] for node in state["nodes"]] == ["w-1", "w-2"]
            sweeper.let_end(2)
            state = until(other, lambda state: state["phase"] != "running")
            assert (state["phase"], state["progress"]["text"]) == ("ended", "2 of 2 trials done")
            assert [(one["trial"], one["status"]) for one in state["trials"]] == [("n02-r1", "ok"), ("n01-r1", "ok")]
            assert sweep.wait(60) == 0
            with pytest.raises(urllib.error.URLError):
                state_of(url)
            assert state_of(other)["phase"] == "ended"
            watch.send_signal(signal.SIGINT)
            assert watch.wait(10) == 130


def test_an_interrupted_sweep_takes_its_page_along(sweeper: Sweeper) -> None:
    with sweeper.harness("sweep", "slow", "--live", "-q", "--nodes", "1", "--env", "GO_ON") as (sweep, url):
        until(url, lambda state: state.get("current"))
        sweep.send_signal(signal.SIGINT)
        assert sweep.wait(30) == 130
        with pytest.raises(urllib.error.URLError):
            state_of(url)


def test_bad_input_starts_nothing(sweeper: Sweeper) -> None:
    def refused(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *arguments], cwd=sweeper.directory, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        return done.stderr

    assert "there is no run in results" in refused("watch")
    assert "nothing is no run directory" in refused("watch", "nothing")
    assert "give --live too" in refused("sweep", "slow", "--port", "8000")
    assert not (sweeper.directory / "results").exists()
