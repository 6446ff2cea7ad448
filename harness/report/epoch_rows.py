"""What rows of epochs.csv count. Pure."""

from __future__ import annotations

import pandas as pd


def last_rows(epochs: pd.DataFrame) -> pd.DataFrame:
    """Of several rows for one trial, epoch and rank (a retried trial) the last counts."""
    return epochs.drop_duplicates(["trial", "epoch", "rank"], keep="last")
