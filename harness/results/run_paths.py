"""Where everything of a run lies: the names of a run directory's files and directories. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

How = Literal["attempt", "recovery"]
"""As what an earlier start of a trial's ranks is kept."""


@dataclass(frozen=True)
class RunPaths:
    """Every path of a run directory."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What was asked, on what, with which versions."""
        return self.root / "manifest.json"

    @property
    def trials(self) -> Path:
        """One row a trial."""
        return self.root / "trials.csv"

    @property
    def epochs(self) -> Path:
        """One row a trial, rank and epoch."""
        return self.root / "epochs.csv"

    @property
    def ranks(self) -> Path:
        """One row a trial and rank."""
        return self.root / "ranks.csv"

    @property
    def telemetry(self) -> Path:
        """One row a node and sample."""
        return self.root / "telemetry.csv"

    @property
    def power(self) -> Path:
        """What meters said: one row a meter and sample; only where there are any."""
        return self.root / "power.csv"

    @property
    def rates(self) -> Path:
        """A benchmark's: how fast each node trains."""
        return self.root / "rates.csv"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        """The figures' directory."""
        return self.root / "figures"

    @property
    def lock(self) -> Path:
        """Held by the harness that writes here."""
        return self.root / ".lock"

    def trial(self, trial: str) -> Path:
        """One trial's directory."""
        return self.root / "trials" / trial

    def start(self, trial: str, how: How, number: int) -> Path:
        """What a start of the ranks that was not the last one left: of an attempt, or of a recovery in place."""
        return self.trial(trial) / f"{how}{number}"

    def checkpoint(self, trial: str) -> Path:
        """What an unfinished trial can go on from: checkpoint.json, and the weights it names."""
        return self.trial(trial) / "checkpoint"

    def checkpoint_record(self, trial: str) -> Path:
        """The record that makes a checkpoint one."""
        return self.checkpoint(trial) / "checkpoint.json"

    def trial_record(self, trial: str) -> Path:
        """The record that makes a trial finished."""
        return self.trial(trial) / "trial.json"

    def trial_events(self, trial: str) -> Path:
        """A trial's raw events, one JSON object a line, with rank and time."""
        return self.trial(trial) / "events.jsonl"

    def rank_log(self, trial: str, rank: str) -> Path:
        """A rank's output as it was."""
        return self.trial(trial) / f"{rank}.log"
