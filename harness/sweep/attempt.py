"""The attempts at one trial: each starts the ranks, again in place where a worker died, and writes what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field

from harness.launch.checkpoints import Keeping
from harness.launch.launcher import Failure, Launcher, Outcome
from harness.launch.placement import Placement
from harness.launch.replacements import Replacements
from harness.nodes.inventory import Node
from harness.results.dilation import undilated_outcome
from harness.results.redaction import kept
from harness.results.rows import Row, TrialHistory, rank_rows, throttled_during, timestamp, trial_row
from harness.results.run_directory import RunDirectory, TrialStart
from harness.sweep.options import Policy
from harness.sweep.progress import Progress
from harness.sweep.recorder import Recorder


@dataclass
class TrialAttempts:
    """All attempts at one trial; `placed` places it on nodes, with a new token each time."""

    launcher: Launcher
    directory: RunDirectory
    progress: Progress
    policy: Policy
    dilation: float
    placed: Callable[[Sequence[Node]], Placement]
    _made: int = 0
    _failures: list[dict[str, object]] = field(default_factory=list)
    """Of all starts of the ranks but the last, in order."""
    _contradictions: list[str] = field(default_factory=list)
    """Of all starts of the present attempt."""

    def run(self, nodes: Sequence[Node], quarantined: AbstractSet[str]) -> tuple[Row, Outcome]:
        """One attempt on these nodes; its recoveries in place stay there, and go on from the last checkpoint."""
        placement = self.placed(nodes)
        trial = placement.trial
        start = self.directory.begin(trial.id, "attempt" if self._made else None, go_on=self.policy.go_on)
        self._made += 1
        self._contradictions = []
        left = self.policy.recover_workers
        replaced = 0
        while True:
            replacements = Replacements(left, start.saved.checkpoint.epoch if start.saved else 0)
            in_place = left < self.policy.recover_workers
            recorder, outcome = self._start(placement, start, replacements, in_place=in_place)
            left -= len(replacements.made)
            replaced += len(replacements.made)
            self._failures += map(asdict, replacements.made)
            if not (left and outcome.failure and _is_recoverable(outcome.failure, placement)):
                break
            left -= 1
            self._failures.append(asdict(outcome.failure))
            self.progress.warning(f"{trial.id}: {outcome.failure}")
            placement = self.placed(nodes)
            start = self.directory.begin(trial.id, "recovery", go_on=True)
        row = self._finish(placement, start, recorder, outcome, replaced, quarantined)
        if outcome.failure:
            self._failures.append(asdict(outcome.failure))
        return row, outcome

    def _start(
        self, placement: Placement, start: TrialStart, replacements: Replacements, *, in_place: bool
    ) -> tuple[Recorder, Outcome]:
        """Start the ranks and see them to their end."""
        saved = start.saved
        recovery = start.recoveries if in_place else 0
        self.progress.begin(placement.trial, start.attempts, recovery, saved.checkpoint.epoch if saved else 0)
        recorder = Recorder(placement, self.directory, self.progress, start, self.dilation)
        keeping = Keeping(recorder.checkpoint, saved.checkpoint if saved else None) if self.policy.keeps else None
        outcome = self.launcher.run(
            placement, recorder, keeping=keeping, replacements=replacements if replacements.allowed else None
        )
        self._contradictions += [text for text in recorder.contradictions if text not in self._contradictions]
        return recorder, undilated_outcome(outcome, self.dilation)

    def _finish(
        self,
        placement: Placement,
        start: TrialStart,
        recorder: Recorder,
        outcome: Outcome,
        replaced: int,
        quarantined: AbstractSet[str],
    ) -> Row:
        trial, saved = placement.trial, start.saved
        left_out = quarantined - {node.name for node in placement.nodes}
        history = TrialHistory(
            attempts=start.attempts,
            recoveries=start.recoveries + replaced,
            continued_from_epoch=saved.checkpoint.epoch if saved else None,
            startup_seconds=saved.startup_seconds if saved else None,
            total_seconds=saved.total_seconds if saved else 0.0,
        )
        outcome.warnings += self._contradictions
        throttled = ["a node was throttled while it ran"] if throttled_during(recorder.samples) else []
        stood = ["the harness itself stood still meanwhile"] if outcome.stood_still_seconds else []
        suspect = [*throttled, *stood, *self._contradictions]
        row = trial_row(
            placement, outcome, recorder.epochs, history, suspect, left_out, recorder.model_parameters, recorder.digests
        )
        detail = {
            "started_at": timestamp(outcome.started_at),
            "placement": {rank.name: rank.node.name for rank in placement.ranks},
            "commands": {rank.name: list(rank.command) for rank in placement.ranks},
            "environment": kept(trial.environment),
            "batch_sizes": list(placement.batch_sizes),
            "failure": asdict(outcome.failure) if outcome.failure else None,
            "warnings": outcome.warnings,
            "earlier_failures": list(self._failures),
            "quarantined": sorted(quarantined),
        }
        for rank_row in rank_rows(placement, outcome):
            self.directory.rank(rank_row)
        self.directory.finish(trial.id, row, detail)
        self.progress.end(trial, outcome, row)
        return row


def _is_recoverable(failure: Failure, placement: Placement) -> bool:
    """Whether a worker's process ended, and no more than that: with its node or a server the trial's state went too."""
    return failure.ended and failure.rank in {rank.name for rank in placement.finishing}
