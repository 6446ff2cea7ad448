"""The figures of a report as files, with their titles and captions; drawn without pyplot and so without global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.analysis.analysis import Analysis
from harness.display import style
from harness.report import drawings
from harness.report.drawings import base_sizes, basis
from harness.report.tables import above_notes

PNG_DPI = 200
# Without a date and a version the same numbers give the same bytes.
_SVG_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_PNG_METADATA: dict[str, str | None] = {"Software": None}


@dataclass(frozen=True)
class FigureFile:
    """A figure on disk: `<stem>.svg` and `<stem>.png`, and what it shows in a sentence."""

    stem: str
    title: str
    caption: str
    svg: Path
    png: Path


@dataclass(frozen=True)
class Kind:
    """A figure that a run may have."""

    stem: str
    title: str
    caption: Callable[[Analysis], str]
    draw: Callable[[Analysis], Figure | None]
    title_of_one_size: str = ""
    """Its title where there is one cluster size, if that is another."""

    def title_for(self, analysis: Analysis) -> str:
        """What stands over it."""
        return self.title_of_one_size if self.title_of_one_size and len(analysis.sizes) == 1 else self.title


def write_figures(analysis: Analysis, directory: Path, more: Sequence[Kind] = ()) -> list[FigureFile]:
    """Draw every figure that the run has data for into `directory` as SVG and PNG; figures of an earlier report go.

    `more` are further kinds of figures.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in (*KINDS, *more):
        svg, png = directory / f"{kind.stem}.svg", directory / f"{kind.stem}.png"
        with mpl.rc_context(style.RC):
            figure = kind.draw(analysis)
            if figure is None:
                svg.unlink(missing_ok=True)
                png.unlink(missing_ok=True)
                continue
            figure.savefig(svg, format="svg", metadata=_SVG_METADATA)
            # The layout is found; finding it again for the second file would take as long.
            figure.set_layout_engine("none")
            figure.savefig(png, format="png", dpi=PNG_DPI, metadata=_PNG_METADATA)
        written.append(FigureFile(kind.stem, kind.title_for(analysis), kind.caption(analysis), svg, png))
    return written


_BANDS = "Bands are 95% intervals of the medians, where there are repeats."


_OF_ONE_SIZE = "Medians of the repeats with their 95% intervals."


def _caption_time(analysis: Analysis) -> str:
    if drawings.of_one_size(analysis):
        return _OF_ONE_SIZE
    return (
        f"Every point is a trial; lines go through the medians of the repeats. {_BANDS} Ideal: the quickest series' time at "
        "the smallest size, divided by the growth in nodes."
    )


def _caption_scaling(analysis: Analysis) -> str:
    efficiency = (
        "Efficiency is the images per second over those of the same nodes training independently: those of the control next "
        "to the trial, or the nodes' measured rates added up."
        if analysis.efficiency_basis == "independent"
        else "Efficiency is the speed-up over the growth in nodes: what the nodes do independently was not measured."
    )
    speedup = f"Speed-up of the {basis(analysis)}, each series against itself at {base_sizes(analysis)}."
    return " ".join([speedup, efficiency, *above_notes(analysis)])


def _caption_throughput(analysis: Analysis) -> str:
    first = "While training, without the first epoch where there are more"
    if drawings.of_one_size(analysis):
        return f"{first}: all nodes together. {_OF_ONE_SIZE}"
    return f"{first}: all nodes together, and one of them."


def _caption_accuracy(analysis: Analysis) -> str:
    batches = analysis.points["global_batch"].dropna()
    grown = (
        f" The global batch grows with the nodes, from {batches.min():.0f} to {batches.max():.0f} images."
        if analysis.facts.program.batch and len(batches) and batches.max() > batches.min()
        else ""
    )
    one_size = f" {_OF_ONE_SIZE}" if drawings.of_one_size(analysis) else ""
    return f"After the last epoch. The axis does not begin at zero.{grown}{one_size}"


def _caption_telemetry(analysis: Analysis) -> str:
    throttled = analysis.telemetry["throttled"]
    none = " No node was throttled." if throttled.notna().any() and not throttled.any() else ""
    return f"One mark a node and trial; lines go through the medians.{none}"


def _caption_goals(analysis: Analysis) -> str:
    policies = " Of each size the quickest policy; the table names it." if analysis.goals["policy"].any() else ""
    return (
        "Time up to the end of the first epoch with the accuracy: faster epochs do not help where more of them are needed. "
        f"A size that did not reach it has no point.{policies} {analysis.goals_note or _BANDS}"
    )


def _caption_breakdown(_: Analysis) -> str:
    return (
        "Medians of the repeats. Waiting is the mean worker's time blocked on the store; compute is the slowest worker's "
        "training time less that."
    )


def _caption_steps(_: Analysis) -> str:
    return (
        "The mean worker, medians of the repeats. A phase that a store or program cannot tell apart is in the one in which it "
        "happens: with servers push is in backward, pull and update in waiting; with PyTorch's DDP all three are in backward."
    )


KINDS = (
    Kind(
        "target",
        "Time to accuracy",
        _caption_goals,
        drawings.draw_goals,
    ),
    Kind("time", "Training time against cluster size", _caption_time, drawings.draw_time, "Training time"),
    Kind("scaling", "Speed-up and efficiency", _caption_scaling, drawings.draw_scaling),
    Kind("throughput", "Throughput", _caption_throughput, drawings.draw_throughput),
    Kind(
        "accuracy_by_epoch",
        "Accuracy per epoch",
        lambda _: (
            "Medians of the repeats: one line a cluster size, or of several series one each at the largest size. The axis does "
            f"not begin at zero. {_BANDS}"
        ),
        drawings.draw_accuracy_by_epoch,
    ),
    Kind(
        "accuracy_by_nodes",
        "Accuracy against cluster size",
        _caption_accuracy,
        drawings.draw_accuracy_by_nodes,
        "Accuracy",
    ),
    Kind("breakdown", "Where an epoch's time goes", _caption_breakdown, drawings.draw_breakdown),
    Kind("steps", "Where a step's time goes", _caption_steps, drawings.draw_steps),
    Kind("telemetry", "Health of the nodes", _caption_telemetry, drawings.draw_telemetry),
)
