"""The page and the figure of docs/results/models: which way of sharing the work wins for which model.

`python -m tests.bench.strategies DIRECTORY` makes both again from the tables below that directory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from harness.display import style
from harness.report import parts
from tests.bench.published import STRATEGIES

COLUMNS = ["model", "nodes", "batch_size", "variant"]
CONTROL = "none"
LABELS = {
    "sums": "all-reduce of sums",
    "factors": "sums or factors",
    "split": "split dense layers",
    "pipeline": "pipeline of 2 stages",
    "pipeline_4": "pipeline of 4 stages",
    "towers": "two towers",
    CONTROL: "independent",
}


def measured(directory: Path) -> pd.DataFrame:
    """What each model, size and strategy did, of all sweeps whose tables are below `directory`.

    Returns:
        frame with COLUMNS, `repeats` (int64), and as float64 `images_per_second` (median over repeats, without first epochs),
        `step_seconds` (the same), `kept` (images a second, 1 is the independent nodes'), `sent_mb` (a step, of the worker that
        sends most), `wait_percent` (of the training time, mean over workers) and `peak_mb` (of the largest worker).
    """
    manifests = [path for path in sorted(directory.glob("*/manifest.json")) if _is_timed(path)]
    trials = pd.concat([_trials(path.parent) for path in manifests])
    found = trials.groupby(COLUMNS, sort=False, as_index=False).agg(
        repeats=("images_per_second", "size"),
        images_per_second=("images_per_second", "median"),
        step_seconds=("step_seconds", "median"),
        sent_mb=("sent_mb", "median"),
        wait_percent=("wait_percent", "median"),
        peak_mb=("peak_mb", "max"),
    )
    control = found[found["variant"] == CONTROL].set_index(COLUMNS[:-1])["images_per_second"]
    keys = pd.MultiIndex.from_frame(found[COLUMNS[:-1]])
    return found.assign(kept=found["images_per_second"].to_numpy() / control.reindex(keys).to_numpy())


def _is_timed(manifest: Path) -> bool:
    """Whether it is of a sweep over strategies: other sweeps there ask for accuracy."""
    return json.loads(manifest.read_text(encoding="utf-8"))["experiment"]["name"] == STRATEGIES.stem


def _trials(tables: Path) -> pd.DataFrame:
    """A row a trial of one sweep."""
    trials = pd.read_csv(tables / "trials.csv")
    trials = trials[trials["status"] == "ok"].set_index("trial")
    epochs = pd.read_csv(tables / "epochs.csv")
    epochs = epochs[(epochs["epoch"] > 1) & epochs["trial"].isin(trials.index)]
    workers = epochs.groupby(["trial", "rank"])[
        ["steps", "images", "train_seconds", "bytes_sent", "wait_seconds"]
    ].sum()
    of_trial = workers.groupby("trial")
    seconds, steps = of_trial["train_seconds"].max(), of_trial["steps"].max()
    sent = of_trial["bytes_sent"].max() if workers["bytes_sent"].notna().any() else 0.0 * seconds
    ranks = pd.read_csv(tables / "ranks.csv").groupby("trial")["max_rss_bytes"].max()
    return trials[COLUMNS].assign(
        images_per_second=of_trial["images"].sum() / seconds,
        step_seconds=seconds / steps,
        sent_mb=sent / steps / 1e6,
        wait_percent=100 * of_trial["wait_seconds"].sum() / of_trial["train_seconds"].sum(),
        peak_mb=ranks / 1e6,
    )


def draw(found: pd.DataFrame, path: Path) -> None:
    """Write the figure: a panel for each model, size and batch, with a bar for each strategy."""
    ways = found[found["variant"] != CONTROL]
    panels = list(ways.groupby(COLUMNS[:-1], sort=False))
    with mpl.rc_context(style.RC):
        most = max(len(rows) for _, rows in panels)
        figure, axes = parts.lying_panels(most, len(panels))
        for axis, ((model, nodes, batch), rows) in zip(axes, panels, strict=True):
            colours = [style.mark(list(LABELS).index(variant), control=False).colour for variant in rows["variant"]]
            places = np.arange(len(rows))
            axis.barh(places, 100 * rows["kept"], color=colours, height=0.6 * len(rows) / most)
            for place, kept in zip(places, rows["kept"], strict=True):
                axis.text(100 * kept + 1, place, f"{100 * kept:.0f}", va="center", fontsize=8)
            axis.set_yticks(places, [LABELS[variant] for variant in rows["variant"]])
            axis.set_ylim(len(rows) - 0.5, -0.5)  # a single bar would fill the panel
            axis.set_xlim(0, max(110.0, 115 * rows["kept"].max()))
            parts.titles(axis, f"{model}, {nodes} nodes, batch {batch}", "% of independent nodes' images/s", "")
        figure.savefig(path, format="png", dpi=200, metadata={"Software": None})


def table(found: pd.DataFrame) -> Sequence[str]:
    """The lines of the page's table."""
    lines = [
        "| model | nodes | batch | strategy | trials | s a step | images/s | kept | MB sent a step | waiting | peak, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found.itertuples():
        lines.append(
            f"| {row.model} | {row.nodes} | {row.batch_size} | {LABELS[str(row.variant)]} | {row.repeats} | "
            f"{row.step_seconds:.3g} | {row.images_per_second:.3g} | {row.kept:.2f} | {row.sent_mb:.3g} | "
            f"{row.wait_percent:.0f}% | {row.peak_mb:.0f} |"
        )
    return lines


def main(directory: Path) -> None:
    """Write strategies.png, and print the table for the page."""
    found = measured(directory)
    draw(found, directory / "strategies.png")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
