"""The nodes' health during trials, from telemetry.csv. Pure."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

THROTTLED_NOW = 0xF


def telemetry_table(telemetry: pd.DataFrame, numbers: pd.DataFrame, dilation: float = 1.0) -> pd.DataFrame:
    """One row a measured trial and node; the samples' clock ran `dilation` times as fast as reported times do.

    Columns: `cpu_percent` (mean), `temperature_celsius` and `memory_used_bytes` (peaks), `sent_bytes_per_second` and
    `received_bytes_per_second` (over the sampled time), `throttled` (share of samples with a current throttling bit).
    """
    rows = telemetry.copy()
    rows["throttled"] = [_throttled(value) for value in rows["throttled"]]
    rows["time"] = pd.to_datetime(rows["time"], utc=True, errors="coerce", format="ISO8601")
    groups = rows.sort_values("time").groupby(["trial", "node"])
    table = groups.agg(
        cpu_percent=("cpu_percent", "mean"),
        temperature_celsius=("temperature_celsius", "max"),
        memory_used_bytes=("memory_used_bytes", "max"),
        throttled=("throttled", "mean"),
    )
    seconds = (groups["time"].max() - groups["time"].min()).dt.total_seconds() / dilation
    for name in ("sent", "received"):
        counter = groups[f"bytes_{name}"]
        table[f"{name}_bytes_per_second"] = (counter.last() - counter.first()) / seconds.where(seconds > 0)
    return numbers[["trial", "series", "nodes", "suspect"]].merge(table.reset_index(), on="trial")


def _throttled(value: Any) -> float:
    """1 where a bit for now (not: since boot) is set in what vcgencmd printed (hexadecimal), 0 for none, else NaN."""
    try:
        bits = int(str(value).rpartition("=")[2].strip(), 16)
    except ValueError:
        return math.nan
    return float(bool(bits & THROTTLED_NOW))
