"""Runs trials one after the other: which nodes each gets, how often it is tried, and which nodes are left out."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.errors import BadInputError
from harness.experiment.plan import Trial
from harness.experiment.rates import Rates
from harness.launch.launcher import Failure, Launcher, Outcome
from harness.launch.placement import PORTS, Placement, SentCode, place_trial
from harness.nodes.inventory import Cluster, Node
from harness.results.run_directory import RunDirectory
from harness.sweep.attempt import TrialAttempts
from harness.sweep.options import Policy
from harness.sweep.progress import Progress

# A node that fails this often is left out of what follows.
FAILURES_BEFORE_QUARANTINE = 2


@dataclass
class Sweep:
    """Runs trials in order on the cluster's first healthy nodes."""

    cluster: Cluster
    launcher: Launcher
    directory: RunDirectory
    progress: Progress
    code: SentCode
    policy: Policy = field(default_factory=Policy)
    unfit: frozenset[str] = frozenset()
    """Nodes that are never placed on: spare ones that did not pass the checks."""
    rates: Rates | None = None
    """What trials with batches by rate share them by."""
    _failures: Counter[str] = field(default_factory=Counter)
    _refused: dict[str, str] = field(default_factory=dict)
    """Points whose program would not have its arguments, each with the trial that showed it."""

    def run(self, trials: Sequence[Trial]) -> Counter[str]:
        """Run them all; how many ended with which status.

        Where a program refuses its arguments, the further repeats of that point are not run.
        """
        statuses: Counter[str] = Counter()
        for number, trial in enumerate(trials):
            if (earlier := self._refused.get(_point(trial))) is not None:
                self.progress.warning(f"{trial.id}: not run: its program refused the same arguments in {earlier}")
                continue
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
        def placed(nodes: Sequence[Node]) -> Placement:
            return place_trial(trial, nodes, port, self.code, secrets.token_hex(16), self.rates, self.cluster)

        attempts = TrialAttempts(
            self.launcher, self.directory, self.progress, self.policy, self.cluster.time_dilation, placed
        )
        for _ in range(self.policy.retries + 1):
            row, outcome = attempts.run(self._nodes_for(trial), self.quarantined)
            failure = outcome.failure
            if failure and failure.refused:
                self._refused[_point(trial)] = trial.id
            if failure and self._counts_against_node(failure, outcome):
                self._note_failure(failure)
            if outcome.status == "ok" or (failure and failure.refused):
                break
        return str(row["status"])

    def _nodes_for(self, trial: Trial) -> tuple[Node, ...]:
        try:
            return self.cluster.first(trial.nodes, excluding=self.quarantined | self.unfit)
        except BadInputError:
            # Too few healthy ones: better a trial on a node that failed before than none.
            return self.cluster.first(trial.nodes, excluding=self.unfit)

    def _counts_against_node(self, failure: Failure, outcome: Outcome) -> bool:
        """Whether a node may be at fault: where the harness itself stood still, its nodes ended the ranks as they should."""
        known = {node.name for node in self.cluster.nodes}
        return failure.node in known and failure.against_node and not outcome.stood_still_seconds

    def _note_failure(self, failure: Failure) -> None:
        self._failures[failure.node] += 1
        if self._failures[failure.node] == FAILURES_BEFORE_QUARANTINE:
            self.progress.warning(
                f"{failure.node} failed {FAILURES_BEFORE_QUARANTINE} times and is left out from now on"
            )


def _point(trial: Trial) -> str:
    """What all repeats of a trial have in common."""
    same = {name: value for name, value in trial.parameters.items() if name != trial.program.seed}
    return repr(
        (trial.nodes, trial.variant, trial.program.name, sorted(same.items()), trial.environment, trial.batches)
    )
