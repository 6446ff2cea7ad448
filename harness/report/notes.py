"""What a reader must know of a run beside its numbers. Pure."""

from __future__ import annotations

import pandas as pd

from harness.report.facts import Facts

SHARED_LOOPBACK = (
    "Bytes are left out: the nodes share one loopback interface, whose counter cannot tell whose they are."
)


def partial_notes(trials: pd.DataFrame, epochs: pd.DataFrame, facts: Facts) -> list[str]:
    """Which trials are missing, ran more than once, went on from a checkpoint, or lacked nodes: a sentence for each kind.

    The frames have the columns of trials.csv and epochs.csv, numbers as floats.
    """
    notes = []
    for name, rows in epochs[~epochs["trial"].isin(list(trials["trial"]))].groupby("trial"):
        notes.append(f"Trial {name} has epochs (up to {rows['epoch'].max():.0f}) but no result: left out.")
    if facts.planned_trials is not None and len(trials) < facts.planned_trials:
        notes.append(f"{len(trials)} of {facts.planned_trials} planned trials have a result.")
    again = list(trials["trial"][trials["attempts"] > 1])
    if again:
        notes.append(f"Needed more than one attempt: {', '.join(again)}.")
    recovered = list(trials["trial"][trials["recovered"] > 0])
    if recovered:
        notes.append(f"Started again in place after a worker had died: {', '.join(recovered)}.")
    continued = list(trials["trial"][trials["continued_from_epoch"].notna()])
    if continued:
        notes.append(
            f"Went on from a checkpoint; times are sums over the starts without what was lost: {', '.join(continued)}."
        )
    for nodes, rows in trials[trials["left_out"] != ""].groupby("left_out"):
        notes.append(f"Ran on other nodes, with {nodes} left out after failures: {', '.join(rows['trial'])}.")
    missing = sorted(set(facts.planned_nodes) - set(trials["nodes"]))
    if missing:
        notes.append(f"Planned cluster sizes without any trial: {', '.join(map(str, missing))}.")
    return notes
