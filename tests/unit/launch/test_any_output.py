"""Whatever a program prints and a node sends, a trial goes to its end and has its row."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from launch_parts import NODES, exit_state, placement
from odd_values import examples
from rich.console import Console

from harness.check.answers import read_probe, read_reached
from harness.check.findings import (
    Finding,
    Probed,
    held_findings,
    lacking,
    node_findings,
    shared_machines,
    unlike_runtimes,
)
from harness.check.network import network_findings
from harness.contract import wire
from harness.contract.json_line import parse_json_line
from harness.errors import NodeError
from harness.launch.follow import AgentError, Follower, Message
from harness.launch.limits import Limits
from harness.launch.replacements import Replacements
from harness.launch.running import Outcome, RunningTrial
from harness.launch.watch import Watch
from harness.nodes.local import LocalTransport
from harness.results.dilation import undilated_outcome
from harness.results.rows import TrialHistory, rank_rows, trial_row
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.sweep.progress import Progress
from harness.sweep.recorder import Recorder

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([1.7e308, -1.7e308, 2**63, 10**400, 1e15, 5e-324, "0x50005", "[/red]"])
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
EVENT_KEYS = (
    *wire.EPOCH_KEYS,
    "rank",
    "step",
    "steps",
    "bytes",
    "parameters",
    "sha256",
    "shared",
    "replaceable",
    "message",
)
EVENTS = st.builds(
    lambda kind, values: {"event": kind, **values},
    st.sampled_from(wire.EVENT_KINDS) | st.text(max_size=5),
    st.dictionaries(st.sampled_from(EVENT_KEYS), st.integers(0, 3) | ANY, max_size=8),
)
LINES = st.one_of(EVENTS.map(lambda event: json.dumps(event).encode()), st.binary(max_size=60))
QUICK = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
NUMBERS = itertools.count()


class Bench:
    """A trial's parts between its nodes and its row, on a disk."""

    def __init__(self, directory: Path) -> None:
        self.placement = placement()
        self.store = RunDirectory(RunPaths(directory), [])
        self.progress = Progress(Console(file=io.StringIO()), [self.placement.trial])

    def run(self, lines: list[bytes], frames: list[dict[str, Any]], dilation: float) -> None:
        start = self.store.begin(self.placement.trial.id, None, go_on=False)
        self.progress.begin(self.placement.trial, 1)
        recorder = Recorder(self.placement, self.store, self.progress, start, dilation)
        outcome = Outcome("ok", datetime.now(UTC))
        trial = RunningTrial(
            inbox=Queue(), watch=Watch(self.placement, Limits(), expects_events=True, now=0.0), observer=recorder,
            outcome=outcome, began=0.0, framework=self.placement.framework, replacements=Replacements(1),
        )  # fmt: skip
        follower = Follower(LocalTransport(NODES[0]), "code", {"ranks": [{"name": "worker0"}]}, Limits(), trial.inbox)
        trial.inbox.put(Message(NODES[0], {"frame": "output", "rank": "worker0"}, b"\n".join(lines) + b"\n"))
        for sent in frames:
            try:
                frame = parse_json_line(json.dumps(sent))  # as it comes from a node
                follower._check(frame)
            except AgentError:
                continue
            trial.inbox.put(Message(NODES[0], frame))
        trial.inbox.put(Message(NODES[1], {**exit_state(code=1), "rank": "worker1"}))
        while trial.take_one(timeout=0):
            pass
        outcome.ends = trial.watch.ends()
        outcome.failure = trial.watch.failure(1.0)
        outcome = undilated_outcome(outcome, dilation)
        row = trial_row(self.placement, outcome, recorder.epochs, TrialHistory(), False, (), recorder.model_parameters)
        for rank in rank_rows(self.placement, outcome):
            self.store.rank(rank)
        self.store.finish(self.placement.trial.id, row, {})
        self.progress.end(self.placement.trial, outcome, row)


@QUICK
@given(
    lines=st.lists(LINES, max_size=6),
    frames=st.lists(
        st.builds(
            lambda kind, values: {"frame": kind, **values},
            st.sampled_from([wire.TELEMETRY_FRAME, wire.EXIT_FRAME, wire.BEAT_FRAME, wire.STARTED_FRAME]),
            st.fixed_dictionaries(
                {},
                optional={
                    "rank": st.just("worker0"), "reason": st.sampled_from(wire.EXIT_REASONS) | ANY, "code": ANY, "signal": ANY,
                    "seconds_ago": ANY, "message": ANY, "ran_seconds": ANY, "cpu_seconds": ANY, "max_rss_bytes": ANY,
                    "disk_free_bytes": ANY, "cpu_percent": ANY, "throttled": ANY, "load_1m": ANY, "failed": ANY, "stopped": ANY,
                },
            ),
        ),
        max_size=4,
    ),
    dilation=st.sampled_from([1.0, 4.0]),
)  # fmt: skip
def test_no_line_and_no_frame_ends_a_trial_but_by_its_own_words(
    lines: list[bytes], frames: list[dict[str, Any]], dilation: float
) -> None:
    directory = Path(tempfile.mkdtemp(prefix="any-output-"))
    try:
        Bench(directory).run(lines, frames, dilation)
    finally:
        shutil.rmtree(directory)


def test_numbers_near_the_end_of_floats_leave_a_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    huge = {name: 1.7e308 for name in wire.EPOCH_KEYS if name not in ("epoch", "train_seconds")}
    lines = [
        json.dumps({"event": "epoch", "rank": 0, "epoch": epoch, "train_seconds": 1.5, **huge}).encode()
        for epoch in (1, 2)
    ]
    bench.run(lines, [], 1.0)
    (row,) = (tmp_path / "trials.csv").read_text().splitlines()[1:]
    assert "inf" not in row
    assert "e+308" not in row
    assert len((tmp_path / "epochs.csv").read_text().splitlines()) == 3


GOOD: dict[str, Any] = {
    "time": 1.0, "cores": 4, "memory_bytes": 1 << 30, "memory_available_bytes": 1 << 30, "disk_free_bytes": 1 << 33,
    "machine_id": "x", "root_writable": True, "sudo": True, "sudo_says": "",
    "runtime": {"python": "3.11", "stores": [], "mxnet": "1.9.1"},
    "data": {"mnist": {"wrong": []}}, "throttled": None, "running": [], "held": None, "trials_bytes": 0,
}  # fmt: skip


def judged(judge: Callable[[], list[Finding]]) -> list[Finding]:
    """What is found, or the refusal as a finding."""
    try:
        return judge()
    except NodeError as error:
        return [Finding(error.node, "answer", "failed", error.message, error.remedy)]


@QUICK
@given(
    changed=st.dictionaries(st.sampled_from(sorted(GOOD)), ANY, max_size=3),
    dropped=st.sets(st.sampled_from(sorted(GOOD)), max_size=2),
)
def test_any_answer_of_a_node_is_judged_or_refused_with_its_name(changed: dict[str, Any], dropped: set[str]) -> None:
    answer = {key: value for key, value in {**GOOD, **changed}.items() if key not in dropped}

    def judge() -> list[Finding]:
        probed = Probed(NODES[0], read_probe("a", answer), 0.0)
        found = node_findings(probed, "site") + lacking(probed, [placement().trial], "site")
        return (
            found + held_findings(probed, None) + shared_machines([probed]) + unlike_runtimes([probed, probed], "site")
        )

    found = judged(judge)
    assert found
    assert all(finding.node == "a" and finding.detail for finding in found)
    assert all(finding.remedy for finding in found if finding.level != "ok")


@QUICK
@given(answer=st.dictionaries(st.sampled_from(["reached", "bytes_per_second", "reason", "arrivals"]), ANY, max_size=3))
def test_any_answer_about_the_network_is_judged_or_refused(answer: dict[str, Any]) -> None:
    assert judged(lambda: network_findings(NODES[0], read_reached("a", answer), {"127.0.0.2": "b"}))


RUNTIMES: list[dict[str, Any]] = [
    {}, {"python": "3.9"}, {"python": 3, "stores": []}, {"python": "3.9", "stores": "dist_sync"},
]  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_runtime_of_an_older_provisioning_is_none(runtime: dict[str, Any]) -> None:
    probed = Probed(NODES[0], read_probe("a", {**GOOD, "runtime": runtime}), 0.0)
    (found,) = [finding for finding in node_findings(probed, "site") if finding.level == "failed"]
    assert found.what == "runtime"
    assert "its runtime.json has no" in found.detail
    assert found.remedy == "site"
