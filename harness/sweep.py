"""One sweep: runs what is left of a plan, trial by trial, and writes what comes of it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.agent import Code
from harness.checkpoints import Keeping
from harness.dilation import undilated_outcome
from harness.errors import BadInputError
from harness.inventory import Cluster, Node
from harness.launcher import Failure, Launcher, Outcome
from harness.placement import PORTS, Placement, place_trial
from harness.plan import Trial
from harness.progress import Progress
from harness.rates import Rates
from harness.recorder import Recorder
from harness.redaction import kept
from harness.replacements import Replacements
from harness.rows import Course, Row, rank_rows, throttled_during, timestamp, trial_row
from harness.store import Begun, RunStore

# A node that fails this often is left out of what follows.
FAILURES_BEFORE_QUARANTINE = 2


@dataclass(frozen=True)
class Policy:
    """What happens when a trial fails."""

    retries: int = 0
    fail_fast: bool = False
    go_on: bool = False
    """Whether trials that failed or were cut go on from their last checkpoint."""
    recover_workers: int = 0
    """How often an attempt is started again in place when a worker died."""

    @property
    def keeps(self) -> bool:
        """Whether workers are asked for checkpoints."""
        return self.go_on or self.recover_workers > 0


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
        self._earlier = []
        for attempt in range(self.policy.retries + 1):
            placement = self._place(trial, port)
            row, outcome = self._attempt(placement, port, again=attempt > 0)
            if outcome.failure and outcome.failure.node in {node.name for node in self.cluster.nodes}:
                self._note_failure(outcome.failure)
            if outcome.status == "ok":
                break
        return str(row["status"])

    def _place(self, trial: Trial, port: int) -> Placement:
        try:
            nodes = self.cluster.first(trial.nodes, excluding=self.quarantined | self.unfit)
        except BadInputError:
            # Too few healthy ones: better a trial on a node that failed before than none.
            nodes = self.cluster.first(trial.nodes, excluding=self.unfit)
        return self._placed(trial, nodes, port)

    def _placed(self, trial: Trial, nodes: Sequence[Node], port: int) -> Placement:
        return place_trial(trial, nodes, port, self.code.hash, secrets.token_hex(16), self.rates)

    def _note_failure(self, failure: Failure) -> None:
        self._failures[failure.node] += 1
        if self._failures[failure.node] == FAILURES_BEFORE_QUARANTINE:
            self.progress.warning(
                f"{failure.node} failed {FAILURES_BEFORE_QUARANTINE} times and is left out from now on"
            )

    def _attempt(self, placement: Placement, port: int, again: bool) -> tuple[Row, Outcome]:
        """One attempt, with its recoveries in place: nodes stay, and go on from the last checkpoint."""
        trial = placement.trial
        begun = self.store.begin(trial.id, "attempt" if again else None, go_on=self.policy.go_on)
        left = self.policy.recover_workers
        replaced = 0
        while True:
            replacements = Replacements(left, begun.saved.checkpoint.epoch if begun.saved else 0)
            in_place = left < self.policy.recover_workers
            recorder, outcome = self._start(placement, begun, replacements, in_place=in_place)
            left -= len(replacements.made)
            replaced += len(replacements.made)
            self._earlier += map(asdict, replacements.made)
            if not (left and outcome.failure and _is_recoverable(outcome.failure, placement)):
                break
            left -= 1
            self._earlier.append(asdict(outcome.failure))
            self.progress.warning(f"{trial.id}: {outcome.failure}")
            placement = self._placed(trial, placement.nodes, port)
            begun = self.store.begin(trial.id, "recovery", go_on=True)
        row = self._finish(placement, begun, recorder, outcome, replaced)
        if outcome.failure:
            self._earlier.append(asdict(outcome.failure))
        return row, outcome

    def _start(
        self, placement: Placement, begun: Begun, replacements: Replacements, *, in_place: bool
    ) -> tuple[Recorder, Outcome]:
        """Start the ranks and see them to their end."""
        saved = begun.saved
        recovery = begun.recoveries if in_place else 0
        self.progress.begin(placement.trial, begun.attempts, recovery, saved.checkpoint.epoch if saved else 0)
        dilation = self.cluster.time_dilation
        recorder = Recorder(placement, self.store, self.progress, begun, dilation)
        keeping = Keeping(recorder.checkpoint, saved.checkpoint if saved else None) if self.policy.keeps else None
        outcome = self.launcher.run(
            placement, recorder, keeping=keeping, replacements=replacements if replacements.allowed else None
        )
        return recorder, undilated_outcome(outcome, dilation)

    def _finish(self, placement: Placement, begun: Begun, recorder: Recorder, outcome: Outcome, replaced: int) -> Row:
        trial, saved = placement.trial, begun.saved
        left_out = self.quarantined - {node.name for node in placement.nodes}
        course = Course(
            attempts=begun.attempts,
            recoveries=begun.recoveries + replaced,
            continued_from_epoch=saved.checkpoint.epoch if saved else None,
            startup_seconds=saved.startup_seconds if saved else None,
            total_seconds=saved.total_seconds if saved else 0.0,
        )
        suspect = throttled_during(recorder.samples)
        row = trial_row(placement, outcome, recorder.epochs, course, suspect, left_out, recorder.model_parameters)
        detail = {
            "started_at": timestamp(outcome.started_at),
            "placement": {rank.name: rank.node.name for rank in placement.ranks},
            "commands": {rank.name: list(rank.command) for rank in placement.ranks},
            "environment": kept(trial.environment),
            "batch_sizes": list(placement.batch_sizes),
            "failure": asdict(outcome.failure) if outcome.failure else None,
            "warnings": outcome.warnings,
            "earlier_failures": list(self._earlier),
            "quarantined": sorted(self.quarantined),
        }
        for rank_row in rank_rows(placement, outcome):
            self.store.rank(rank_row)
        self.store.finish(trial.id, row, detail)
        self.progress.end(trial, outcome, row)
        return row


def _is_recoverable(failure: Failure, placement: Placement) -> bool:
    """Whether a worker's process ended, and no more than that: with its node or a server the trial's state went too."""
    return failure.ended and failure.rank in {rank.name for rank in placement.with_role("worker")}


def check_programs(programs: Sequence[str], directory: Path) -> None:
    """Raise BadInputError for a program that is not in the experiments' directory."""
    for program in programs:
        path = (directory / program).resolve()
        if not path.is_file() or directory.resolve() not in path.parents:
            raise BadInputError(f"program {program} is not in {directory}", "name a file below it")
