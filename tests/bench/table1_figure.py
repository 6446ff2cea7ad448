"""The figure of Table I: the published table, the same way here, and batches; and the page that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from harness.display import style
from harness.report import parts
from tests.bench.row import Row
from tests.bench.table1_numbers import CORES, Curves

SENTENCE = (
    "The published efficiencies of 138% to 97% divide the time of one thread of the first Pi by the number of cores: compared "
    "with that Pi's four cores (corrected) nothing is super-linear, and compared with the best schedule by the cores' rates "
    "most of the cores that were added waited for a task."
)

_WHOLE_SECONDS = 20.0


def draw(found: Curves, path: Path) -> None:
    """Write the figure: seconds for 8,000 trees against cores, both axes logarithmic."""
    lines = (
        ("published", found.published, style.mark(0, control=True)),
        ("the same way here", found.again, style.mark(1, control=False)),
        ("corrected, and batches", found.ours, style.mark(0, control=False)),
    )
    with mpl.rc_context(style.RC):
        figure, (axis,) = parts.row(1)
        for label, seconds, mark in lines:
            sizes = sorted(seconds)
            axis.plot(
                [CORES[size] for size in sizes], [seconds[size] for size in sizes], color=mark.colour,
                marker=mark.marker, linestyle=mark.line, label=label,
            )  # fmt: skip
        sizes = sorted(found.best)
        axis.plot(
            [CORES[size] for size in sizes], [found.best[size] for size in sizes], label="best by rates", **parts.IDEAL
        )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(list(CORES.values()), [str(cores) for cores in CORES.values()])
        axis.minorticks_off()
        ticks = [value for value in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if value >= axis.get_ylim()[0]]
        axis.set_yticks(ticks, [str(value) for value in ticks])
        parts.titles(axis, "Table I: a forest of 8,000 trees", "cores", "s")
        handles, _ = axis.get_legend_handles_labels()
        parts.place_legend(figure, handles)
        figure.savefig(path, format="png", dpi=200, metadata={"Software": None})


def page(found: Curves, bars: Sequence[Row], command: str) -> str:
    """The README of the published run: the figure, its sentence, both tables."""

    def cell(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds:.0f}" if seconds >= _WHOLE_SECONDS else f"{seconds:.1f}"

    rows = [
        f"| {CORES[size]} | " + " | ".join(
            cell(each.get(size)) for each in (found.published, found.again, found.ours, found.ideal, found.best)
        ) + " |"
        for size in CORES
    ]  # fmt: skip
    said = {True: "yes", False: "**no**", None: ""}
    bar_rows = [
        f"| {row.what} | {row.measured()} | {f'{row.bar.relation} {row.bar.value:g}' if row.bar else ''} | {said[row.held]} |"
        for row in bars
    ]
    return "\n".join(
        [
            "# Table I",
            "",
            "A random forest of 8,000 trees on the digits, on a Raspberry Pi 4, a desktop, three more Pis and a laptop. All",
            "are virtual, their cores' speeds are from published benchmarks. Take ratios from here, not seconds.",
            "",
            "![Seconds against cores](table1.png)",
            "",
            SENTENCE,
            "",
            "| cores | published, s | the same way here, s | corrected, and batches, s | by rates alone, s | best, s |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Each time is of one trial. *Best* is the best schedule by the rates that the cores had in the trial beside it,",
            "the dashed line. *By rates alone* is by what each node did by itself, in another trial: the machine's own pace",
            "changes between trials.",
            "",
            "| promise | measured | bar | held |",
            "| --- | --- | --- | --- |",
            *bar_rows,
            "",
            f"Make it again (as root): `{command}`. Trials with fewer than 8,000 trees are multiplied. How it is measured:",
            "[Run forests and searches on Dask](../../how-to/dask.md#table-i).",
            "",
        ]
    )
