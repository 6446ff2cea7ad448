"""Volunteers as processes with real MXNet: one is killed, one comes late, one lies, and a stranger knocks."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_job
from tasks.volunteers.messages import BrokenError, Line, Result, task_of
from training.kvstores.allreduce.links.handshake import RefusedError, introduce
from training.trial import Seat

from harness.contract import wire

pytestmark = pytest.mark.mxnet

VALUES, BATCH, STEPS, PASSES = 61_706, 16, 20, 12
IMAGES = PASSES * (1497 // BATCH) * BATCH
ARGUMENTS = [
    "--dataset=digits", f"--batch-size={BATCH}", f"--passes={PASSES}", "--windows=6", "--learning-rate=0.03", "--momentum=0.9",
    "--merge=arriving", "--sizing=equal", f"--task-steps={STEPS}", "--wait-for=3", "--comes=2:2", "--patience=100",
]  # fmt: skip


class Run:
    """A coordinator, whose events are read while it runs, and its volunteers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(training_job, "PROGRAM", training_job.PROGRAM.with_name("federated") / "volunteer.py")
        self.port = training_job._free_port()
        self.directory = directory
        self.coordinator = self.start("coordinator", 0)
        self.events: list[dict[str, Any]] = []

    def start(self, role: str, rank: int) -> training_job.Rank:
        common = {
            wire.ROOT_ADDRESS: "127.0.0.1", wire.ROOT_PORT: str(self.port), wire.NODE_ADDRESS: "127.0.0.1",
            wire.TRIAL_TOKEN: "t", wire.ROLE: role, wire.RANK: str(rank), wire.NODE: f"node{rank}",
        }  # fmt: skip
        return training_job.start(ARGUMENTS, common, self.directory)

    def until(self, kind: str, **values: object) -> dict[str, Any]:
        """Read on until the coordinator prints such an event."""
        assert self.coordinator.stdout
        for line in self.coordinator.stdout:
            if line.startswith("{"):
                event: dict[str, Any] = json.loads(line)
                self.events.append(event)
                if event["event"] == kind and all(event[name] == value for name, value in values.items()):
                    return event
        raise AssertionError(f"the coordinator never said {kind} {values}: {self.coordinator.stderr}")

    def until_came(self, node: str) -> None:
        """Read on until that volunteer has come, unless it has."""
        came = {"event": "volunteer", "node": node, "how": "came"}
        if not any(came.items() <= event.items() for event in self.events):
            self.until("volunteer", node=node, how="came")

    def connected(self, token: bytes) -> Line:
        connection = socket.create_connection(("127.0.0.1", self.port), 5)
        introduce(connection, Seat(9, 1, "127.0.0.1", ("127.0.0.1", self.port), token), 0, 0)
        return Line(connection, VALUES)

    def lie(self) -> None:
        """Be a volunteer whose results are not finite, until sent away."""
        line = self.connected(b"t")
        line.say("hello", {"node": "liar"})
        try:
            while (said := line.hear())[0]["kind"] == "task":
                task = task_of(said[0])
                lie = Result(task.version, task.first, task.steps, task.steps * BATCH, 0.1, 1.0)
                line.say("result", lie, np.full(VALUES, np.nan, np.float32))
        except BrokenError:
            pass


def test_killed_late_and_lying_volunteers_cost_their_tasks_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch)
    volunteers = []
    try:
        run.until("ready")
        with pytest.raises(RefusedError):
            run.connected(b"another token")
        liar = threading.Thread(target=run.lie, daemon=True)
        liar.start()
        volunteers = [run.start("worker", rank) for rank in range(3)]
        run.until("volunteers", window=1)
        # Paused, so that something is left for the late one, however slowly it starts.
        os.kill(volunteers[0].pid, signal.SIGSTOP)
        os.kill(volunteers[1].pid, signal.SIGKILL)
        gone = run.until("volunteer", node="node1")
        run.until_came("node2")
        os.kill(volunteers[0].pid, signal.SIGCONT)
        last = run.until("volunteers", window=6)
        run.until("done")
        assert run.coordinator.wait(20) == 0
        liar.join(20)
    finally:
        for process in (run.coordinator, *volunteers):
            process.kill()
    assert gone["how"].startswith("left")
    assert last["shares"]["node0"] + last["shares"]["node1"] + last["shares"]["node2"] == IMAGES  # every image counted
    assert last["shares"]["node2"] > 0
    assert "liar" not in last["shares"] or last["shares"]["liar"] == 0
    assert last["done_again"]["node1"] == gone["images_lost"] <= STEPS * BATCH
    assert last["done_again"]["liar"] == 3 * STEPS * BATCH
    assert {event["how"] for event in run.events if event.get("node") == "liar"} == {"came", "was sent away"}
    rows = [event for event in run.events if event["event"] == "epoch"]
    assert sum(row["images_lost"] for row in rows) == sum(last["done_again"].values())
    assert max(row["staleness"] for row in rows) > 0
    assert rows[-1]["validation_accuracy"] > 0.8
