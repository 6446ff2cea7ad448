"""What a run says, in sentences: every number in them is computed from the run, and nothing is guessed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from harness.report import text
from harness.report.analysis import Analysis, time_basis
from harness.report.series import Series
from harness.report.steps import PARTS, main_parts

# Below these a difference is not worth a sentence.
_SLOWER = 1.05
_BUSIER = 1.2
_BYTES_PER_PARAMETER = 4
_PARTS = {"data": "handing over data", "wait": "waiting for the store", "update": "updating", "other": "between these"}

Show = Callable[[float], str]


@dataclass(frozen=True)
class Finding:
    """Sentences on one series; `label` is empty where there is only one."""

    label: str
    sentences: tuple[str, ...]


def answer(analysis: Analysis) -> list[Finding]:
    """How time and accuracy changed with the nodes, a finding a series; the controls are left out."""
    return _findings(analysis, _answer)


def observations(analysis: Analysis) -> list[Finding]:
    """Where the time goes as the cluster grows, and what an epoch would take without the waiting; a finding a series."""
    return _findings(analysis, _observations)


def comparison(analysis: Analysis) -> str:
    """Which series was fastest at the largest size that all measured; empty where there is nothing to compare."""
    rates = [analysis.points_of(one).set_index("nodes")["images_per_second"].dropna() for one in analysis.subjects]
    common = set.intersection(*(set(there.index) for there in rates)) if len(rates) > 1 else set()
    if not common:
        return ""
    size = max(common)
    pairs = zip(rates, analysis.subjects, strict=True)
    (best, name), *others = sorted(((float(there[size]), one.label) for there, one in pairs), reverse=True)
    rest = ", ".join(f"{text.ratio(best / rate)} times {label}" for rate, label in others if rate > 0)
    return f"At {text.nodes(size)} {name} trained fastest: {text.number(best)} images/s, {rest}."


def wire_bound_seconds(nodes: int, parameters: float, bits_per_second: float) -> float:
    """The least time that a node's link needs to exchange all parameters once: 2(n-1)/n of them, 4 bytes each.

    It holds for uncompressed values spread evenly over the nodes, both directions of the link used at once.
    """
    return 2 * (nodes - 1) / nodes * parameters * _BYTES_PER_PARAMETER * 8 / bits_per_second


def _findings(analysis: Analysis, say: Callable[[Analysis, Series], Iterator[str]]) -> list[Finding]:
    alone = len(analysis.subjects) == 1
    found = [Finding("" if alone else one.label, tuple(say(analysis, one))) for one in analysis.subjects]
    return [finding for finding in found if finding.sentences]


@dataclass(frozen=True)
class _Ends:
    """The smallest and the largest measured size of a series."""

    first: pd.Series
    last: pd.Series

    @classmethod
    def of(cls, points: pd.DataFrame) -> _Ends:
        return cls(points.iloc[0], points.iloc[-1])

    @property
    def at_last(self) -> str:
        return text.nodes(self.last["nodes"])

    @property
    def differ(self) -> bool:
        return bool(self.first["nodes"] != self.last["nodes"])

    @property
    def same_worker_batch(self) -> bool:
        return self.known("worker_batch") and round(self.first["worker_batch"]) == round(self.last["worker_batch"])

    def known(self, *metrics: str) -> bool:
        return not any(math.isnan(row[metric]) for row in (self.first, self.last) for metric in metrics)

    def moved(self, metric: str, show: Show) -> str:
        """`fell from 64.3 s to 11.5 s`, or `stayed at 1%` where both read the same."""
        before, after = show(self.first[metric]), show(self.last[metric])
        if before == after:
            return f"stayed at {after}"
        verb = "fell" if self.last[metric] < self.first[metric] else "rose"
        return f"{verb} from {before} to {after}"


def _answer(analysis: Analysis, one: Series) -> Iterator[str]:
    ends = _Ends.of(analysis.points_of(one))
    last, clock = ends.last, time_basis(analysis.trials)
    name = "the time per epoch" if clock == "epoch_seconds" else "the total time"
    if ends.differ:
        yield (
            f"From {ends.first['nodes']:.0f} to {ends.at_last} {name} {ends.moved(clock, text.seconds)}: "
            f"speed-up {text.ratio(last['speedup'])}, efficiency {text.percent(last['efficiency'])}."
        )
        if clock != "total_seconds" and ends.known("total_seconds"):
            yield f"A whole trial, start-up included, {ends.moved('total_seconds', text.seconds)}."
    else:
        yield (
            f"Only {ends.at_last} was measured: {name} was {text.seconds(last[clock])}; a speed-up needs a second size."
        )
    yield from _accuracy(analysis, ends)
    if not one.control and last["wait_share"] > 0:
        yield f"At {ends.at_last} the store cost {text.percent(last['wait_share'])} of the epoch's time."
    if not math.isnan(last["kept"]):
        yield (
            f"There the cluster kept {text.percent(last['kept'])} of the throughput that the same nodes reach when they "
            "train independently."
        )


def _accuracy(analysis: Analysis, ends: _Ends) -> Iterator[str]:
    last = ends.last
    if not ends.known("validation_accuracy"):
        return
    epochs = "" if math.isnan(last["epochs"]) else f" after {_count(last['epochs'], 'epoch')}"
    if not ends.differ:
        yield f"Validation accuracy{epochs} was {text.accuracy(last['validation_accuracy'])}."
        return
    yield f"Validation accuracy{epochs} {ends.moved('validation_accuracy', text.accuracy)}."
    if analysis.target is not None and ends.known("target_seconds"):
        goal = text.percent(analysis.target.accuracy, 1)
        yield f"Time to {goal} validation accuracy {ends.moved('target_seconds', text.seconds)}."


def _observations(analysis: Analysis, one: Series) -> Iterator[str]:
    points = analysis.points_of(one)
    ends = _Ends.of(points)
    if ends.differ:
        yield from _waiting(ends)
        yield from _batch(ends)
        yield from _per_node(ends)
        yield from _other_shares(ends)
    yield from _step(analysis, one)
    yield from _wire(analysis, one, ends)
    yield from _uneven(analysis, one, int(ends.last["nodes"]))
    yield from _throttling(analysis, one)
    yield from _spread(points)


def _waiting(ends: _Ends) -> Iterator[str]:
    if not ends.known("wait_share"):
        return
    first, last = ends.first, ends.last
    yield (
        f"Waiting for the store took {text.percent(first['wait_share'])} of an epoch at {text.nodes(first['nodes'])} and "
        f"{text.percent(last['wait_share'])} at {ends.at_last}."
    )
    before, after = (row["epoch_seconds"] - row["wait_epoch_seconds"] for row in (first, last))
    if last["wait_epoch_seconds"] > 0 and after > 0:
        yield (
            f"Without any waiting an epoch would take {text.seconds(after)} instead of "
            f"{text.seconds(last['epoch_seconds'])} at {ends.at_last} and {text.seconds(before)} instead of "
            f"{text.seconds(first['epoch_seconds'])} at {first['nodes']:.0f}: speed-up {text.ratio(before / after)} "
            f"instead of {text.ratio(last['speedup'])}."
        )


def _batch(ends: _Ends) -> Iterator[str]:
    first, last = ends.first, ends.last
    if ends.same_worker_batch and ends.known("steps_per_epoch"):
        yield (
            f"The batch per worker stayed at {last['worker_batch']:.0f}, so the global batch grew from "
            f"{first['global_batch']:.0f} to {last['global_batch']:.0f} and an epoch updates the weights "
            f"{last['steps_per_epoch']:.0f} times instead of {first['steps_per_epoch']:.0f}: accuracy at equal epochs is "
            "that of training with a larger batch."
        )
    if ends.known("target_epochs") and first["target_epochs"] != last["target_epochs"]:
        yield (
            f"The target accuracy took {_count(first['target_epochs'], 'epoch')} at {text.nodes(first['nodes'])} and "
            f"{last['target_epochs']:.4g} at {ends.at_last}."
        )


def _per_node(ends: _Ends) -> Iterator[str]:
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


def _other_shares(ends: _Ends) -> Iterator[str]:
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


def _wire(analysis: Analysis, one: Series, ends: _Ends) -> Iterator[str]:
    last, rate, size = ends.last, analysis.facts.link_bits_per_second, int(ends.last["nodes"])
    if last["bytes_per_worker_step"] > 0:
        yield (
            f"At {ends.at_last} a worker moved {text.size(last['bytes_per_worker_step'])} a step (sent and received), the "
            f"cluster {text.size(last['bytes_per_image'])} an image."
        )
    parameters = last["model_parameters"]
    if one.control or size < 2 or rate is None or math.isnan(parameters):
        return
    bound = wire_bound_seconds(size, parameters, rate)
    yield (
        f"At {ends.at_last} the wire allows no less than {text.seconds(bound)} for a step that exchanges every parameter: "
        f"2 · {size - 1}/{size} · {parameters:,.0f} parameters · 4 bytes over {rate / 1e6:.4g} Mbit/s, evenly spread and "
        "not compressed."
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
        yield f"Throttled during {_count(hot['trial'].nunique(), 'trial')}: {names}."


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


def _count(value: float, noun: str) -> str:
    return f"{value:.4g} {noun}{'' if value == 1 else 's'}"


def _on(node: str) -> str:
    return f" ({node})" if node and node != "nan" else ""
