"""A trial that is recorded as a sweep does, without any process."""

from __future__ import annotations

import io
import itertools
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launch_parts import NODES, parameter_server_roles, trial
from rich.console import Console

from harness.launch.follow import Message
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.launcher import Limits, Outcome
from harness.launch.placement import place
from harness.launch.running import RunningTrial
from harness.launch.watch import Watch
from harness.results.rows import TrialHistory, rank_rows, trial_row
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.sweep.progress import Progress
from harness.sweep.recorder import Recorder

_numbers = itertools.count()


@dataclass
class Recorded:
    """A trial while it runs, and where it is kept."""

    paths: RunPaths
    running: RunningTrial
    recorder: Recorder


@contextmanager
def recorded(directory: Path, inbox: queue.Queue[Message], dilation: float = 2.0) -> Iterator[Recorded]:
    """A trial of two workers and a server on one node, recorded as a sweep does; its rows are made at the end."""
    point = trial(1)
    roles = parameter_server_roles(2, 1, NODES[:1])
    placement = place(
        point, roles, framework=FRAMEWORKS["mxnet"], port=1, command=lambda _: ("true",), environment={}, token="",
    )  # fmt: skip
    paths = RunPaths(directory / f"run{next(_numbers)}")
    paths.root.mkdir()
    with (
        RunDirectory(paths, []) as run,
        Progress(Console(file=io.StringIO(), force_terminal=True), [point]) as progress,
    ):
        start = run.begin(point.id)
        progress.begin(point, 1)
        recorder = Recorder(placement, run, progress, start, dilation)
        began = time.monotonic()
        running = RunningTrial(
            inbox,
            Watch(placement, Limits(), True, began),
            recorder,
            Outcome("ok", datetime.now(UTC)),
            began,
            FRAMEWORKS["mxnet"],
        )
        yield Recorded(paths, running, recorder)
        outcome = running.outcome
        outcome.ends = running.watch.ends()
        for row in rank_rows(placement, outcome):
            run.rank(row)
        row = trial_row(placement, outcome, recorder.epochs, TrialHistory(), False, (), recorder.model_parameters)
        run.finish(point.id, row, {})
        progress.end(point, outcome, row)
    RunDirectory(paths, []).close()  # and it can be opened again
