"""The columns of a run directory's CSVs, as docs/design.md has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.events import EPOCH_KEYS, PHASE_KEYS, TRAFFIC_KEYS

EPOCH_COLUMNS = ("trial", "nodes", "repeat", "rank", "node", "time", *EPOCH_KEYS)

RANK_COLUMNS = (
    "trial", "nodes", "repeat", "role", "rank", "node", "reason", "exit_code", "started_seconds", "ended_seconds",
    "cpu_seconds", "max_rss_bytes", "context_switches",
)  # fmt: skip

TELEMETRY_COLUMNS = (
    "trial", "node", "time", "cpu_percent", "memory_used_bytes", "load_1m", "temperature_celsius", "throttled",
    "bytes_sent", "bytes_received",
)  # fmt: skip

TRIAL_HEAD = ("trial", "status", "nodes", "repeat", "variant", "workers", "servers")
TRIAL_TAIL = (
    "model_parameters", "attempts", "recovered", "continued_from_epoch", "left_out", "started_at", "startup_seconds",
    "train_seconds", "validation_seconds", "total_seconds", "images",
    "images_per_second", *PHASE_KEYS, *TRAFFIC_KEYS, "worker_cpu_seconds", "server_cpu_seconds",
    "train_accuracy", "validation_accuracy", "best_validation_accuracy", "failure",
)  # fmt: skip


def trial_columns(parameters: Iterable[str]) -> tuple[str, ...]:
    """The columns of trials.csv for an experiment with these parameters."""
    return (*TRIAL_HEAD, *parameters, *TRIAL_TAIL)
