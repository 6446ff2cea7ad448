"""Where the time goes as the cluster grows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.measures import speedup_basis
from harness.analysis.series import Series
from harness.analysis.steps import PARTS, main_parts, wire_bound_seconds
from harness.display import text
from harness.report.findings.ends import Ends, count

# Below these a difference is not worth a sentence.
_SLOWER = 1.05
_BUSIER = 1.2
_PARTS = {"data": "handing over data", "wait": "waiting for the store", "update": "updating", "other": "between these"}


def observed(analysis: Analysis, one: Series) -> Iterator[str]:
    """Sentences on one series."""
    points = analysis.points_of(one)
    ends = Ends.of(points)
    if ends.differ:
        yield from _waiting(analysis, ends)
        if analysis.facts.program.batch:
            yield from _batch(ends)
        yield from _to_target(ends)
        yield from _per_node(ends)
        yield from _other_shares(ends)
    yield from _step(analysis, one)
    yield from _wire(analysis, one, ends)
    yield from _uneven(analysis, one, int(ends.last["nodes"]))
    yield from _throttling(analysis, one)
    yield from _spread(points)


def _waiting(analysis: Analysis, ends: Ends) -> Iterator[str]:
    if not ends.known("wait_share"):
        return
    first, last = ends.first, ends.last
    yield (
        f"Waiting for the store took {text.percent(first['wait_share'])} of an epoch at {text.nodes(first['nodes'])} and "
        f"{text.percent(last['wait_share'])} at {ends.at_last}."
    )
    before, after = (row["epoch_seconds"] - row["wait_epoch_seconds"] for row in (first, last))
    # Only nodes whose computing does not depend on their waiting allow it, and no cluster is more than its nodes.
    possible = after > 0 and before / after <= last["nodes"] / first["nodes"]
    alike = speedup_basis(analysis.trials) == "epoch_seconds"
    if alike and possible and _has_one_speed(analysis) and last["wait_epoch_seconds"] > 0:
        yield (
            f"Without any waiting an epoch would take {text.seconds(after)} instead of "
            f"{text.seconds(last['epoch_seconds'])} at {ends.at_last} and {text.seconds(before)} instead of "
            f"{text.seconds(first['epoch_seconds'])} at {first['nodes']:.0f}: speed-up {text.ratio(before / after)} "
            f"instead of {text.ratio(last['speedup'])}."
        )


def _has_one_speed(analysis: Analysis) -> bool:
    """Whether a node computes as fast after it has waited as before: real ones do, and virtual ones of the stretched model."""
    return analysis.facts.kind not in ("local", "emulated") and set(analysis.cpu_models) <= {"stretched"}


def _batch(ends: Ends) -> Iterator[str]:
    first, last = ends.first, ends.last
    if ends.same_worker_batch and ends.known("steps_per_epoch") and first["steps_per_epoch"] != last["steps_per_epoch"]:
        yield (
            f"The batch per worker stayed at {last['worker_batch']:.0f}, so the global batch grew from "
            f"{first['global_batch']:.0f} to {last['global_batch']:.0f} and an epoch updates the weights "
            f"{last['steps_per_epoch']:.0f} times instead of {first['steps_per_epoch']:.0f}: accuracy at equal epochs is "
            "that of training with a larger batch."
        )


def _to_target(ends: Ends) -> Iterator[str]:
    first, last = ends.first, ends.last
    if ends.known("target_epochs") and first["target_epochs"] != last["target_epochs"]:
        yield (
            f"The target accuracy took {count(first['target_epochs'], 'epoch')} at {text.nodes(first['nodes'])} and "
            f"{last['target_epochs']:.4g} at {ends.at_last}."
        )


def _per_node(ends: Ends) -> Iterator[str]:
    if ends.known("images_per_second_per_node"):
        yield f"A node's training rate in images/s {ends.moved('images_per_second_per_node', text.number)}."
    if not (ends.same_worker_batch and ends.known("compute_step_seconds")):
        return
    before, after = ends.first["compute_step_seconds"], ends.last["compute_step_seconds"]
    if before > 0 and not 1 / _SLOWER < after / before < _SLOWER:
        yield (
            f"With the same batch per worker, a step's own time (all but the waiting) "
            f"{ends.moved('compute_step_seconds', text.seconds)}."
        )


def _other_shares(ends: Ends) -> Iterator[str]:
    if ends.known("validation_share"):
        yield f"Validation's share of an epoch {ends.moved('validation_share', text.percent)}."
    if ends.known("startup_share"):
        yield f"Start-up's share of the total time {ends.moved('startup_share', text.percent)}."


def _step(analysis: Analysis, one: Series) -> Iterator[str]:
    """The parts of a step at the largest size."""
    rows = analysis.steps[analysis.steps["series"] == one.index].sort_values("nodes")
    if rows.empty:
        return
    last = rows.iloc[-1]
    named = [f"{text.seconds(value)} {_PARTS.get(part, f'in {part}')}" for part, value in main_parts(last)]
    whole = text.seconds(float(last[list(PARTS)].fillna(0.0).sum()))
    yield f"Of a step of {whole} at {text.nodes(last['nodes'])} the mean worker spent {', '.join(named)}."


def _wire(analysis: Analysis, one: Series, ends: Ends) -> Iterator[str]:
    last, rate, size = ends.last, analysis.facts.link_bits_per_second, int(ends.last["nodes"])
    if last["bytes_per_worker_step"] > 0:
        yield (
            f"At {ends.at_last} a worker moved {text.size(last['bytes_per_worker_step'])} a step (sent and received), the "
            f"cluster {text.size(last['bytes_per_image'])} an image."
        )
    parameters = last["model_parameters"]
    if one.control or size < 2 or rate is None or math.isnan(parameters):
        return
    shared = analysis.facts.shares_medium
    bound = wire_bound_seconds(size, parameters, rate, shared=shared)
    what = "medium" if shared else "wire"
    how = f", of {size} nodes, each byte twice on the air" if shared else ""
    yield (
        f"At {ends.at_last} the {what} allows no less than {text.seconds(bound)} for a step that exchanges every parameter: "
        f"2 · {size - 1}/{size} · {parameters:,.0f} parameters · 4 bytes over {rate / 1e6:.4g} Mbit/s{how}, evenly "
        "spread and not compressed."
    )
    if not math.isnan(last["step_seconds"]):
        waiting = text.seconds(last["wait_step_seconds"])
        yield f"There a step took {text.seconds(last['step_seconds'])}, of which {waiting} waiting for the store."


def _uneven(analysis: Analysis, one: Series, size: int) -> Iterator[str]:
    """The slowest worker and the busiest link at one size, where they stand out."""
    slow = _standing_out(_at(analysis.ranks, one, size), "own_seconds", "median")
    if slow is not None and slow[1] >= _SLOWER:
        yield (
            f"At {text.nodes(size)} the slowest worker{_on(slow[0])} was busy (training less waiting) "
            f"{text.ratio(slow[1])} times as long as the median worker; a synchronous step waits for it."
        )
    busy = _standing_out(_at(analysis.telemetry, one, size), "sent_bytes_per_second", "mean")
    if busy is not None and busy[1] >= _BUSIER:
        yield f"At {text.nodes(size)} the busiest node{_on(busy[0])} sent {text.ratio(busy[1])} times the mean node's bytes."


def _at(rows: pd.DataFrame, one: Series, size: int) -> pd.DataFrame:
    return rows[(rows["series"] == one.index) & (rows["nodes"] == size)]


def _standing_out(rows: pd.DataFrame, column: str, middle: str) -> tuple[str, float] | None:
    """The node with the highest value and its ratio to the middle one, in the median trial."""
    ratios = []
    for _, group in rows.dropna(subset=[column]).sort_values(column).groupby("trial"):
        base, top = float(group[column].agg(middle)), group.iloc[-1]
        if len(group) > 1 and base > 0:
            ratios.append((float(top[column]) / base, str(top["node"])))
    if not ratios:
        return None
    ratio, node = sorted(ratios)[len(ratios) // 2]
    return node, ratio


def _throttling(analysis: Analysis, one: Series) -> Iterator[str]:
    rows = analysis.telemetry
    hot = rows[(rows["series"] == one.index) & (rows["throttled"] > 0)]
    if len(hot):
        names = ", ".join(sorted(set(hot["node"].astype(str))))
        yield f"Throttled during {count(hot['trial'].nunique(), 'trial')}: {names}."


def _spread(points: pd.DataFrame) -> Iterator[str]:
    repeated = points[(points["trials"] > 1) & (points["epoch_seconds"] > 0)]
    if repeated.empty:
        return
    spread = (repeated["epoch_seconds_max"] - repeated["epoch_seconds_min"]) / repeated["epoch_seconds"]
    widest = repeated.iloc[int(spread.to_numpy().argmax())]
    yield (
        f"Repeats of one size differ by at most {text.percent(float(spread.max()), 1)} in time per epoch "
        f"(at {text.nodes(widest['nodes'])}): smaller differences are within the noise."
    )


def _on(node: str) -> str:
    return f" ({node})" if node and node != "nan" else ""
