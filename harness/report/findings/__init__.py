"""What a run says, in sentences: every number in them is computed from the run, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.analysis.analysis import Analysis
from harness.analysis.series import Series
from harness.report.findings.answers import answered
from harness.report.findings.compared import comparison
from harness.report.findings.goals import goal_sentences
from harness.report.findings.observations import observed

__all__ = ["Finding", "answer", "comparison", "goal_sentences", "observations"]


@dataclass(frozen=True)
class Finding:
    """Sentences on one series; `label` is empty where there is only one."""

    label: str
    sentences: tuple[str, ...]


def answer(analysis: Analysis) -> list[Finding]:
    """How time and accuracy changed with the nodes, a finding a series; the controls are left out."""
    return _findings(analysis, answered)


def observations(analysis: Analysis) -> list[Finding]:
    """Where the time goes as the cluster grows, and what an epoch would take without the waiting; a finding a series."""
    return _findings(analysis, observed)


def _findings(analysis: Analysis, say: Callable[[Analysis, Series], Iterator[str]]) -> list[Finding]:
    alone = len(analysis.subjects) == 1
    found = [Finding("" if alone else one.label, tuple(say(analysis, one))) for one in analysis.subjects]
    return [finding for finding in found if finding.sentences]
