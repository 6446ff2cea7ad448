"""Figures of how accuracy comes about: against time and bytes, by rule; in a world that changes; and by whose work."""

from __future__ import annotations

from harness.analysis.load import RunData
from harness.report.courses import costs, volunteers, worlds
from harness.report.courses.events import Events
from harness.report.figures import Kind
from harness.results.run_paths import RunPaths


def kinds(run: RunData, paths: RunPaths) -> tuple[Kind, ...]:
    """The figures of a run, each of which is drawn where the run has data for it."""
    events = Events(paths)
    return (
        Kind(
            "accuracy_by_cost", "Accuracy against time and bytes", costs.caption, lambda found: costs.draw(found, run.epochs)
        ),
        Kind(
            "worlds", "Learning in a world that changes", worlds.caption,
            lambda found: worlds.draw(found, run.epochs, events),
        ),
        Kind("shares", "Who did the work", volunteers.caption, lambda found: volunteers.draw(found, events)),
    )  # fmt: skip
