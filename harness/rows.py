"""From events and outcomes to the rows of the CSVs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from statistics import fmean

from harness.events import EPOCH_KEYS, Event
from harness.launcher import Outcome
from harness.placement import Placement, Rank
from harness.plan import Trial

Cell = str | int | float | bool | None
Row = dict[str, Cell]

EPOCH_COLUMNS = ("trial", "nodes", "repeat", "rank", "node", "time", *EPOCH_KEYS)

TELEMETRY_COLUMNS = (
    "trial", "node", "time", "cpu_percent", "memory_used_bytes", "load_1m", "temperature_celsius", "throttled",
    "bytes_sent", "bytes_received",
)  # fmt: skip

_TRIAL_HEAD = ("trial", "status", "nodes", "repeat", "variant", "workers", "servers")
_TRIAL_TAIL = (
    "model_parameters", "attempts", "left_out", "started_at", "startup_seconds", "train_seconds",
    "validation_seconds", "total_seconds", "images",
    "images_per_second", "wait_seconds", "bytes_sent", "bytes_received", "train_accuracy", "validation_accuracy",
    "best_validation_accuracy", "failure",
)  # fmt: skip


def timestamp(moment: datetime) -> str:
    """UTC, ISO 8601, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def trial_columns(parameters: Iterable[str]) -> tuple[str, ...]:
    """The columns of trials.csv for an experiment with these parameters."""
    return (*_TRIAL_HEAD, *parameters, *_TRIAL_TAIL)


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


def trial_row(
    placement: Placement,
    outcome: Outcome,
    epochs: Sequence[Row],
    attempts: int,
    suspect: bool,
    left_out: Iterable[str] = (),
    model_parameters: float | None = None,
) -> Row:
    """One row of trials.csv, from the trial's rows of epochs.csv; `left_out` names the nodes in quarantine.

    Times of an epoch are the slowest worker's: that is how long the cluster took. Waiting is the mean over workers.
    """
    trial = placement.trial
    train = _sum_of_slowest(epochs, "train_seconds")
    images = _total(epochs, "images")
    by_rank = len({row["rank"] for row in epochs}) or 1
    waited = _total(epochs, "wait_seconds")
    last = max((row["epoch"] for row in epochs if isinstance(row["epoch"], int)), default=None)
    final = [row for row in epochs if row["epoch"] == last]
    validation = [
        float(row["validation_accuracy"]) for row in epochs if isinstance(row["validation_accuracy"], int | float)
    ]
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
        "attempts": attempts,
        "left_out": " ".join(sorted(left_out)) or None,
        "started_at": timestamp(outcome.started_at),
        "startup_seconds": _rounded(outcome.startup_seconds),
        "train_seconds": _rounded(train),
        "validation_seconds": _rounded(_sum_of_slowest(epochs, "validation_seconds")),
        "total_seconds": _rounded(outcome.total_seconds),
        "images": images,
        "images_per_second": _rounded(float(images) / train) if images and train else None,
        "wait_seconds": _rounded(float(waited) / by_rank) if waited is not None else None,
        "bytes_sent": _total(epochs, "bytes_sent"),
        "bytes_received": _total(epochs, "bytes_received"),
        "train_accuracy": _mean(final, "train_accuracy"),
        "validation_accuracy": _mean(final, "validation_accuracy"),
        "best_validation_accuracy": max(validation, default=None),
        "failure": str(outcome.failure) if outcome.failure else None,
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
    return [value for row in rows if isinstance(value := row[key], int | float) and not isinstance(value, bool)]


def _total(rows: Sequence[Row], key: str) -> int | float | None:
    values = _numbers(rows, key)
    return sum(values) if values else None


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
