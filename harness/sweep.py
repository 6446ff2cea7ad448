"""One sweep: runs what is left of a plan, trial by trial, and writes what comes of it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from harness.agent import Code
from harness.dilation import undilated_event, undilated_outcome, undilated_sample
from harness.errors import BadInputError
from harness.events import Event
from harness.inventory import Cluster, Node
from harness.launcher import Failure, Launcher, Outcome
from harness.placement import PORTS, Placement, Rank, place_trial
from harness.plan import Trial
from harness.progress import Progress
from harness.rates import Rates
from harness.rows import Row, epoch_row, rank_rows, telemetry_row, throttled_during, timestamp, trial_row
from harness.store import RunStore

# A node that fails this often is left out of what follows.
FAILURES_BEFORE_QUARANTINE = 2


@dataclass(frozen=True)
class Policy:
    """What happens when a trial fails."""

    retries: int = 0
    fail_fast: bool = False


@dataclass
class Sweep:
    """Runs trials in order on the cluster's first healthy nodes."""

    cluster: Cluster
    launcher: Launcher
    store: RunStore
    progress: Progress
    code: Code
    policy: Policy = field(default_factory=Policy)
    unfit: frozenset[str] = frozenset()
    """Nodes that are never placed on: spare ones that did not pass the checks."""
    rates: Rates | None = None
    """What trials with batches by rate share them by."""
    _failures: Counter[str] = field(default_factory=Counter)
    _earlier: list[dict[str, object]] = field(default_factory=list)

    def run(self, trials: Sequence[Trial]) -> Counter[str]:
        """Run them all; how many ended with which status."""
        statuses: Counter[str] = Counter()
        for number, trial in enumerate(trials):
            status = self._run_trial(trial, self.cluster.port + number % PORTS)
            statuses[status] += 1
            if status == "failed" and self.policy.fail_fast:
                break
        return statuses

    @property
    def quarantined(self) -> frozenset[str]:
        """Nodes that failed too often."""
        return frozenset(node for node, count in self._failures.items() if count >= FAILURES_BEFORE_QUARANTINE)

    def _run_trial(self, trial: Trial, port: int) -> str:
        attempt = 0
        self._earlier = []
        while True:
            attempt += 1
            placement = self._place(trial, port)
            row, outcome = self._attempt(placement, attempt)
            if outcome.failure and outcome.failure.node in {node.name for node in self.cluster.nodes}:
                self._note_failure(outcome.failure)
            if outcome.status == "ok" or attempt > self.policy.retries:
                return str(row["status"])
            if outcome.failure:
                self._earlier.append(asdict(outcome.failure))

    def _place(self, trial: Trial, port: int) -> Placement:
        try:
            nodes = self.cluster.first(trial.nodes, excluding=self.quarantined | self.unfit)
        except BadInputError:
            # Too few healthy ones: better a trial on a node that failed before than none.
            nodes = self.cluster.first(trial.nodes, excluding=self.unfit)
        return place_trial(trial, nodes, port, self.code.hash, secrets.token_hex(16), self.rates)

    def _note_failure(self, failure: Failure) -> None:
        self._failures[failure.node] += 1
        if self._failures[failure.node] == FAILURES_BEFORE_QUARANTINE:
            self.progress.warning(
                f"{failure.node} failed {FAILURES_BEFORE_QUARANTINE} times and is left out from now on"
            )

    def _attempt(self, placement: Placement, attempt: int) -> tuple[Row, Outcome]:
        trial = placement.trial
        self.store.begin(trial.id, attempt)
        self.progress.begin(trial, attempt)
        dilation = self.cluster.time_dilation
        recorder = _Recorder(placement, self.store, self.progress, dilation)
        outcome = undilated_outcome(self.launcher.run(placement, recorder), dilation)
        suspect = throttled_during(recorder.samples)
        used = {node.name for node in placement.nodes}
        left_out = self.quarantined - used
        row = trial_row(placement, outcome, recorder.epochs, attempt, suspect, left_out, recorder.model_parameters)
        detail = {
            "started_at": timestamp(outcome.started_at),
            "placement": {rank.name: rank.node.name for rank in placement.ranks},
            "commands": {rank.name: list(rank.command) for rank in placement.ranks},
            "environment": dict(trial.environment),
            "batch_sizes": list(placement.batch_sizes),
            "failure": asdict(outcome.failure) if outcome.failure else None,
            "warnings": outcome.warnings,
            "earlier_attempts": list(self._earlier),
            "quarantined": sorted(self.quarantined),
        }
        for rank_row in rank_rows(placement, outcome):
            self.store.rank(rank_row)
        self.store.finish(trial.id, row, detail)
        self.progress.end(trial, outcome, row)
        return row, outcome


class _Recorder:
    """Writes what a running trial says to the run directory, and shows it."""

    def __init__(self, placement: Placement, store: RunStore, progress: Progress, dilation: float) -> None:
        self._dilation = dilation
        self._trial = placement.trial
        self._store = store
        self._progress = progress
        self.epochs: list[Row] = []
        self.samples: list[Mapping[str, object]] = []
        self.model_parameters: float | None = None

    def output(self, rank: Rank, data: bytes) -> None:
        self._store.log(self._trial.id, rank.name, data)

    def event(self, rank: Rank, event: Event) -> None:
        now = datetime.now(UTC)
        record = {
            "time": timestamp(now),
            "role": rank.name,
            "node": rank.node.name,
            "event": event.kind,
            **event.values,
        }
        self._store.event(self._trial.id, record)  # as it was said; rows and progress are of undilated time
        event = undilated_event(event, self._dilation)
        if event.kind == "ready":
            self.model_parameters = event.number("parameters")
        if event.kind == "epoch":
            row = epoch_row(self._trial, rank, event, now)
            self.epochs.append(row)
            self._store.epoch(row)
        self._progress.event(rank, event)

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        sample = undilated_sample(sample, self._dilation)
        self.samples.append(sample)
        self._store.telemetry(telemetry_row(self._trial, node.name, sample, datetime.now(UTC)))

    def warning(self, text: str) -> None:
        self._progress.warning(text)


def check_programs(programs: Sequence[str], directory: Path) -> None:
    """Raise BadInputError for a program that is not in the experiments' directory."""
    for program in programs:
        path = (directory / program).resolve()
        if not path.is_file() or directory.resolve() not in path.parents:
            raise BadInputError(f"program {program} is not in {directory}", "name a file below it")
