"""From events and outcomes to the rows of the CSVs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from harness.columns import TELEMETRY_COLUMNS
from harness.events import EPOCH_KEYS, PHASE_KEYS, TRAFFIC_KEYS, Event
from harness.launcher import End, Outcome
from harness.placement import Placement, Rank
from harness.plan import Trial

Cell = str | int | float | bool | None
Row = dict[str, Cell]

_TEXT = ("trial", "node", "time")


@dataclass(frozen=True)
class Course:
    """How a trial came to its end: its starts, and what the last one went on from."""

    attempts: int = 1
    recoveries: int = 0
    """Starts in place, of the same attempts."""
    continued_from_epoch: int | None = None
    startup_seconds: float | None = None
    total_seconds: float = 0.0
    """Both of the starts before the last, up to the checkpoint that was gone on from."""


def timestamp(moment: datetime) -> str:
    """UTC, ISO 8601, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_row(trial: Trial, rank: Rank, event: Event, moment: datetime) -> Row:
    """One row of epochs.csv; a key that is absent or no finite number is empty."""
    return {
        "trial": trial.id,
        "nodes": trial.nodes,
        "repeat": trial.repeat,
        "rank": _whole(event.number("rank")),
        "node": rank.node.name,
        "time": timestamp(moment),
        **{key: _whole(event.number(key)) for key in EPOCH_KEYS},
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
    course: Course,
    suspect: bool,
    left_out: Iterable[str] = (),
    model_parameters: float | None = None,
) -> Row:
    """One row of trials.csv, from the trial's rows of epochs.csv; `left_out` names the nodes in quarantine.

    Times of an epoch are the slowest worker's: that is how long the cluster took. Phases are the mean over workers. A trial
    that went on from a checkpoint has all its epochs, whichever start they are of, and the time to the checkpoint; what
    was done after it and lost is nowhere.
    """
    trial = placement.trial
    train = _sum_of_slowest(epochs, "train_seconds")
    images = _total(epochs, "images")
    ranks = rank_rows(placement, outcome)
    last = max((row["epoch"] for row in epochs if isinstance(row["epoch"], int)), default=None)
    final = [row for row in epochs if row["epoch"] == last]
    validation = [
        float(row["validation_accuracy"]) for row in epochs if isinstance(row["validation_accuracy"], int | float)
    ]
    started = [seconds for seconds in (course.startup_seconds, outcome.startup_seconds) if seconds is not None]
    status = "suspect" if outcome.status == "ok" and suspect else outcome.status
    return {
        "trial": trial.id,
        "status": status,
        "nodes": trial.nodes,
        "repeat": trial.repeat,
        "variant": trial.variant or None,
        "workers": len(placement.with_role("worker")),
        "servers": len(placement.with_role("server")),
        **trial.parameters,
        "model_parameters": _whole(model_parameters),
        "attempts": course.attempts,
        "recovered": course.recoveries,
        "continued_from_epoch": course.continued_from_epoch,
        "left_out": " ".join(sorted(left_out)) or None,
        "started_at": timestamp(outcome.started_at),
        "startup_seconds": _rounded(sum(started)) if started else None,
        "train_seconds": _rounded(train),
        "validation_seconds": _rounded(_sum_of_slowest(epochs, "validation_seconds")),
        "total_seconds": _rounded(course.total_seconds + outcome.total_seconds),
        "images": images,
        "images_per_second": _rounded(float(images) / train) if images and train else None,
        **{key: _rounded(_mean_worker(epochs, key)) for key in PHASE_KEYS},
        **{key: _total(epochs, key) for key in TRAFFIC_KEYS},
        **{
            f"{role}_cpu_seconds": _rounded(_total([row for row in ranks if row["role"] == role], "cpu_seconds"))
            for role in ("worker", "server")
        },
        "train_accuracy": _mean(final, "train_accuracy"),
        "validation_accuracy": _mean(final, "validation_accuracy"),
        "best_validation_accuracy": max(validation, default=None),
        "failure": str(outcome.failure) if outcome.failure else None,
    }


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


def _numbers(rows: Iterable[Row], key: str) -> list[int | float]:
    return [value for row in rows if isinstance(value := row.get(key), int | float) and not isinstance(value, bool)]


def _total(rows: Sequence[Row], key: str) -> int | float | None:
    values = _numbers(rows, key)
    return sum(values) if values else None


def _mean_worker(rows: Sequence[Row], key: str) -> float | None:
    """Of the sums over a worker's epochs."""
    total = _total(rows, key)
    return None if total is None else total / len({row["rank"] for row in rows})


def _mean(rows: Sequence[Row], key: str) -> float | None:
    values = _numbers(rows, key)
    return fmean(values) if values else None


def _sum_of_slowest(rows: Sequence[Row], key: str) -> float | None:
    slowest: dict[Cell, float] = {}
    for row in rows:
        value = row[key]
        if isinstance(value, int | float):
            slowest[row["epoch"]] = max(slowest.get(row["epoch"], 0.0), value)
    return sum(slowest.values()) if slowest else None


def _whole(number: float | None) -> int | float | None:
    return int(number) if number is not None and float(number).is_integer() and abs(number) < 2**53 else number


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
