"""The nodes' health during trials, from telemetry.csv. Pure."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.analysis.rates import moments_of

THROTTLED_NOW = 0xF


def telemetry_table(telemetry: pd.DataFrame, numbers: pd.DataFrame, dilation: float = 1.0) -> pd.DataFrame:
    """One row a measured trial and node.

    Args:
        telemetry: frame with the columns of telemetry.csv, numbers as float64 (bytes, %, °C), `time` and `throttled` as text.
        numbers: frame with columns `trial` (text), `series`, `nodes` (int64, count) and `suspect` (bool), a row a trial.
        dilation: the samples' clock ran so many times as fast as reported times do (no unit).

    Returns:
        Frame with columns `trial`, `node` (text), `series`, `nodes` (int64), `suspect` (bool), and as float64 `cpu_percent`
        (mean, % of a core), `temperature_celsius` (peak, °C), `memory_used_bytes` (peak), `sent_bytes_per_second`,
        `received_bytes_per_second` (over the sampled time), `throttled` (fraction of samples with a current throttling bit).
    """
    rows = telemetry.copy()
    rows["throttled"] = [_throttled(value) for value in rows["throttled"]]
    rows["time"] = moments_of(rows["time"])
    groups = rows.sort_values("time").groupby(["trial", "node"])
    table = groups.agg(
        cpu_percent=("cpu_percent", "mean"),
        temperature_celsius=("temperature_celsius", "max"),
        memory_used_bytes=("memory_used_bytes", "max"),
        throttled=("throttled", "mean"),
    )
    for name, rate in _wire_rates(rows.sort_values("time")).items():
        table[f"{name}_bytes_per_second"] = rate * dilation
    return numbers[["trial", "series", "nodes", "suspect"]].merge(table.reset_index(), on="trial")


def _wire_rates(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Bytes sent and received per second of the clock by trial and node, over the time between samples that follow each other.

    Counters begin at 0 with every start of the ranks and every connection made anew, so a pair of samples of which the later
    one has less says nothing, nor does the time between.
    """
    keys = ["trial", "node"]
    steps = rows[keys].assign(
        seconds=rows.groupby(keys)["time"].diff().dt.total_seconds(),
        sent=rows.groupby(keys)["bytes_sent"].diff(),
        received=rows.groupby(keys)["bytes_received"].diff(),
    )
    sums = steps[(steps["sent"] >= 0) & (steps["received"] >= 0)].groupby(keys)[["seconds", "sent", "received"]].sum()
    seconds = sums["seconds"].where(sums["seconds"] > 0)
    return {name: sums[name] / seconds for name in ("sent", "received")}


def _throttled(value: Any) -> float:
    """1 where a bit for now (not: since boot) is set in what vcgencmd printed (hexadecimal), 0 for none, else NaN."""
    try:
        bits = int(str(value).rpartition("=")[2].strip(), 16)
    except ValueError:
        return math.nan
    return float(bool(bits & THROTTLED_NOW))
