"""From events and outcomes to the rows of the CSVs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean, median

from harness.contract import wire
from harness.contract.columns import (
    AGGREGATED,
    TELEMETRY_COLUMNS,
    Aggregation,
    Column,
    count_column,
    cpu_column,
    seconds_to_column,
)
from harness.contract.events import Event
from harness.experiment.plan import Trial
from harness.launch.launcher import End, Outcome
from harness.launch.placement import Placement, Rank

Cell = str | int | float | bool | None
Row = dict[str, Cell]

_TEXT = ("trial", "node", "time")
MOST_BEHIND = 0.03
"""Of a trial's training: above that, what a node computed was too far from its CPU model to be believed."""


@dataclass(frozen=True)
class TrialHistory:
    """The starts of a trial, and the checkpoint that the last one continued from."""

    attempts: int = 1
    recoveries: int = 0
    """Starts in place, of the same attempts."""
    continued_from_epoch: int | None = None
    startup_seconds: float | None = None
    total_seconds: float = 0.0
    """This and startup_seconds are of the starts before the last, up to the checkpoint that was continued from."""


def timestamp(moment: datetime) -> str:
    """UTC, ISO 8601, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp_at(moment: float) -> str:
    """The same of a moment in s since 1970."""
    return timestamp(datetime.fromtimestamp(moment, UTC))


def moment_of(text: str) -> float | None:
    """A moment in ISO 8601, UTC unless it says an offset, in s since 1970; None for what is none."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def epoch_row(trial: Trial, rank: Rank, event: Event, moment: datetime) -> Row:
    """One row of epochs.csv; a key that is absent or no finite number is empty."""
    return {
        "trial": trial.id,
        "nodes": trial.nodes,
        "repeat": trial.repeat,
        "rank": _whole(event.number("rank")),
        "node": rank.node.name,
        "time": timestamp(moment),
        **{key: _whole(event.number(key)) for key in wire.EPOCH_KEYS},
    }


def epoch_row_of(cells: Row) -> Row:
    """A row as it is read from epochs.csv, its numbers as they were."""
    return {key: cell if key in _TEXT else _number(cell) for key, cell in cells.items()}


def _number(cell: Cell) -> Cell:
    with suppress(ValueError):
        return int(str(cell))
    with suppress(ValueError):
        return float(str(cell))
    return None


def trial_row(
    placement: Placement,
    outcome: Outcome,
    epochs: Sequence[Row],
    history: TrialHistory,
    suspect: bool | Sequence[str],
    left_out: Iterable[str] = (),
    model_parameters: float | None = None,
    digests: AbstractSet[str] = frozenset(),
) -> Row:
    """One row of trials.csv, from the trial's rows of epochs.csv, aggregated as COLUMNS says.

    `suspect` has the reasons why its numbers may be wrong, in words, or says that there is one; a rank that fell too far behind
    its CPU model adds its own. `left_out` names the nodes in quarantine, `digests` are those of what the ranks say they have
    trained. A trial that continued from a checkpoint has all its epochs, whichever start they are of, and the time up to the
    checkpoint; what was done after it and lost is not counted.
    """
    trial = placement.trial
    ranks = rank_rows(placement, outcome)
    found = {column.name: _aggregated(column, epochs) for column in AGGREGATED}
    images, train = found["images"], found["train_seconds"]
    reasons = [*([] if isinstance(suspect, bool) else suspect), *_behind(ranks, train)]
    doubted = suspect is True or bool(reasons)
    started = [seconds for seconds in (history.startup_seconds, outcome.startup_seconds) if seconds is not None]
    return {
        "trial": trial.id,
        "status": "suspect" if outcome.status == "ok" and doubted else outcome.status,
        "nodes": trial.nodes,
        "repeat": trial.repeat,
        "variant": trial.variant or None,
        **trial.parameters,
        **_role_cells(ranks, trial.program.roles),
        "model_parameters": _whole(model_parameters),
        "attempts": history.attempts,
        "recovered": history.recoveries,
        "continued_from_epoch": history.continued_from_epoch,
        "left_out": " ".join(sorted(left_out)) or None,
        "suspect_because": "; ".join(reasons) or None,
        wire.CPU_MODEL: cpu_model_of(outcome),
        "started_at": timestamp(outcome.started_at),
        "startup_seconds": _rounded(sum(started)) if started else None,
        "total_seconds": _rounded(history.total_seconds + outcome.total_seconds),
        **found,
        "images_per_train_second": _rounded(images / train) if images and train else None,
        **_seconds_to(epochs, trial.accuracies),
        "weights_sha256": next(iter(digests)) if len(digests) == 1 else None,
        "failure": str(outcome.failure) if outcome.failure else None,
    }


def cpu_model_of(outcome: Outcome) -> str | None:
    """How the ranks' processors were slowed down, as their nodes say, in the order of the names; None for real nodes."""
    told = {model for end in outcome.ends.values() if isinstance(model := end.state.get(wire.CPU_MODEL), str) and model}
    return " ".join(sorted(told)) or None


def _behind(ranks: Iterable[Row], train_seconds: float | None) -> list[str]:
    """Of the ranks that fell too far behind their CPU model the worst one, in words."""
    behind = [
        (seconds, f"{row['role']}{row['rank']} on {row['node']}")
        for row in ranks
        if isinstance(seconds := row.get("cpu_seconds_behind"), int | float)
    ]
    if not behind or not train_seconds:
        return []
    seconds, name = max(behind)
    share = seconds / train_seconds
    if share <= MOST_BEHIND:
        return []
    return [f"the machine was too busy: {name} fell behind its CPU model by {share:.1%} of the training time"]


def _seconds_to(epochs: Sequence[Row], accuracies: Iterable[float]) -> Row:
    """By column the time up to the end of the first epoch in which the median worker reaches an accuracy."""
    by_epoch: dict[float, list[Row]] = {}
    for row in epochs:
        if isinstance(epoch := row["epoch"], int | float):
            by_epoch.setdefault(epoch, []).append(row)
    found: Row = {seconds_to_column(accuracy): None for accuracy in accuracies}
    elapsed = 0.0
    for _, rows in sorted(by_epoch.items()):
        elapsed += sum(max(_numbers(rows, key), default=0.0) for key in ("train_seconds", "validation_seconds"))
        reached = _numbers(rows, "validation_accuracy")
        for accuracy in accuracies:
            column = seconds_to_column(accuracy)
            if reached and median(reached) >= accuracy and found[column] is None:
                found[column] = _rounded(elapsed)
    return found


def _role_cells(ranks: Sequence[Row], roles: Iterable[str]) -> Row:
    """How many ranks each role has, and their processor time together."""
    counts = Counter(str(row["role"]) for row in ranks)
    cells: Row = {}
    for role in dict.fromkeys([*roles, *counts]):
        own = [row for row in ranks if row["role"] == role]
        cells |= {count_column(role): counts[role], cpu_column(role): _rounded(_total(own, "cpu_seconds"))}
    return cells


def rank_rows(placement: Placement, outcome: Outcome) -> list[Row]:
    """The rows of ranks.csv, in launch order; what is not known of a rank (its node was lost) is empty."""
    return [_rank_row(placement.trial, rank, outcome.ends.get(rank.name)) for rank in placement.ranks]


def _rank_row(trial: Trial, rank: Rank, end: End | None) -> Row:
    row: Row = {
        "trial": trial.id,
        "nodes": trial.nodes,
        "repeat": trial.repeat,
        "role": rank.role,
        "rank": rank.number,
        "node": rank.node.name,
    }
    if end is None:
        return row
    state = Event("exit", end.state)  # numbers as in events: a node may send anything
    code, killed_by, ran = state.number("code"), state.number("signal"), state.number("ran_seconds")
    return row | {
        "reason": str(end.state["reason"]),
        "exit_code": _whole(code if killed_by is None else -killed_by),
        "started_seconds": None if ran is None else _rounded(end.seconds - ran),
        "ended_seconds": _rounded(end.seconds),
        "cpu_seconds": _rounded(state.number("cpu_seconds")),
        "max_rss_bytes": _whole(state.number("max_rss_bytes")),
        "context_switches": _whole(state.number("context_switches")),
        wire.CPU_MODEL: model if isinstance(model := end.state.get(wire.CPU_MODEL), str) else None,
        "cpu_seconds_behind": _rounded(state.number(wire.CPU_BEHIND)),
        "cpu_pressure": _rounded(state.number("cpu_pressure")),
    }


def telemetry_row(trial: Trial, node: str, sample: Mapping[str, object], moment: datetime) -> Row:
    """One row of telemetry.csv."""
    row: Row = {"trial": trial.id, "node": node, "time": timestamp(moment)}
    for key in TELEMETRY_COLUMNS[3:]:
        value = sample.get(key)
        row[key] = value if isinstance(value, str | int | float) else None
    return row


def throttled_during(samples: Iterable[Mapping[str, object]]) -> bool:
    """Whether a node was throttled or under-voltage at any sample: the low four bits of the firmware's word are now."""
    for sample in samples:
        bits = sample.get("throttled")
        with suppress(ValueError):
            if isinstance(bits, str) and int(bits, 16) & 0xF:
                return True
    return False


def _aggregated(column: Column, epochs: Sequence[Row]) -> float | None:
    value = _AGGREGATE[column.aggregation](epochs, column.source or column.name)
    return _rounded(value) if column.unit == "s" else value


def _numbers(rows: Iterable[Row], key: str) -> list[int | float]:
    return [value for row in rows if isinstance(value := row.get(key), int | float) and not isinstance(value, bool)]


def _total(rows: Sequence[Row], key: str) -> int | float | None:
    values = _numbers(rows, key)
    return sum(values) if values else None


def _mean_worker(rows: Sequence[Row], key: str) -> float | None:
    total = _total(rows, key)
    return None if total is None else total / len({row["rank"] for row in rows})


def _at_the_end(rows: Sequence[Row], key: str) -> float | None:
    last = max((row["epoch"] for row in rows if isinstance(row["epoch"], int)), default=None)
    values = _numbers((row for row in rows if row["epoch"] == last), key)
    return fmean(values) if values else None


def _best(rows: Sequence[Row], key: str) -> float | None:
    return max(_numbers(rows, key), default=None)


def _sum_of_slowest(rows: Sequence[Row], key: str) -> float | None:
    slowest: dict[Cell, float] = {}
    for row in rows:
        value = row[key]
        if isinstance(value, int | float):
            slowest[row["epoch"]] = max(slowest.get(row["epoch"], 0.0), value)
    return sum(slowest.values()) if slowest else None


_AGGREGATE: Mapping[Aggregation, Callable[[Sequence[Row], str], float | None]] = {
    "sum": _total,
    "mean": _mean_worker,
    "slowest": _sum_of_slowest,
    "last": _at_the_end,
    "best": _best,
}


def _whole(number: float | None) -> int | float | None:
    return int(number) if number is not None and float(number).is_integer() and abs(number) < 2**53 else number


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
