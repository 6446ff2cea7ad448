"""Answer a question from a run directory: read, fit, draw, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.text import Text

from harness.analysis.analysis import Analysis, analyse_run
from harness.analysis.load import load_run
from harness.console import err, out
from harness.errors import BadInputError
from harness.predict.figure import draw
from harness.predict.fit import RANGE_PERCENTILES
from harness.predict.forecast import Forecast, forecast, show_rate
from harness.predict.measurements import Measured, measured_series
from harness.predict.question import Question
from harness.predict.terminal import forecast_json, forecast_text
from harness.results.disk import write_atomically
from harness.results.run_paths import RunPaths


def answer(paths: RunPaths, question: Question, *, as_json: bool) -> None:
    """Print the forecast of every series of a run, as tables or JSON, and write `prediction.svg` and `.png` to its figures.

    Raises BadInputError where no series has two cluster sizes, or a link is asked about and the measured one is not known, or
    was one medium for all.
    """
    data = load_run(paths)
    analysis = analyse_run(data)
    link = own_link(analysis, question.measured_link_bits_per_second, question.link_bits_per_second)
    fitted, too_small = enough_sizes(measured_series(analysis, data.trials, data.epochs), paths)
    mixed = bool(data.manifest.get("rates"))  # asked for by a run whose nodes differ
    forecasts = [forecast(each, link, question, mixed=mixed) for each in fitted]
    if question.link_bits_per_second and all(one.fit.link_bits_per_second is None for one in forecasts):
        raise BadInputError(
            "--link: what the wire costs is not known: no link, or no bytes, of this run's nodes",
            "name the link that it was measured on with --measured-link 100mbit; a local cluster has none",
        )
    drawn = _write_figure(forecasts, question, paths)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(forecasts, question, paths, link), indent=2, allow_nan=False) + "\n")
    else:
        _print(forecasts, question, analysis, link)
        out.print(f"figure: {drawn}", soft_wrap=True)
    for each in too_small:
        err.print(f"left out: {each.label}: one cluster size only ({each.sizes[0]})", soft_wrap=True)


def own_link(analysis: Analysis, measured: float | None, asked: float | None = None) -> float | None:
    """The rate of a node's own link; None where it is not known, or where all share one medium, whose time is not modelled.

    `measured` is what the user says that it was, `asked` another one to predict for. Raises BadInputError where either is
    given of a shared medium.
    """
    if not analysis.facts.shares_medium:
        return measured or analysis.facts.link_bits_per_second
    if asked or measured:
        raise BadInputError(
            "--link, --measured-link: the nodes of this run had no links of their own, but one medium together",
            "leave them out: other sizes are predicted, with the medium's time as part of the message costs",
        )
    return None


def enough_sizes(series: tuple[Measured, ...], paths: RunPaths) -> tuple[list[Measured], list[Measured]]:
    """The series with at least two cluster sizes, and the others; raises BadInputError where there is none of the first."""
    fitted = [each for each in series if len(each.sizes) > 1]
    if not fitted:
        sizes = sorted({size for each in series for size in each.sizes})
        seen = f"only {', '.join(map(str, sizes))} per series" if sizes else "none with a time per step"
        raise BadInputError(
            f"{paths.root}: a cost model needs at least 2 measured cluster sizes of one series, there is {seen}",
            "sweep more of them, e.g. harness sweep ... --nodes 1,2,4,8",
        )
    return fitted, [each for each in series if len(each.sizes) < 2]


def _write_figure(forecasts: list[Forecast], question: Question, paths: RunPaths) -> Path:
    svg, png = draw(forecasts, question.threshold)
    target = paths.figures / "prediction.svg"
    paths.figures.mkdir(exist_ok=True)
    write_atomically(target, svg)
    write_atomically(target.with_suffix(".png"), png)
    return target


def _print(forecasts: list[Forecast], question: Question, analysis: Analysis, link: float | None) -> None:
    measured_on = f", measured on {show_rate(link)}" if link else ""
    out.print(Text(f"{analysis.facts.experiment}{measured_on}", style="bold"))
    if analysis.facts.emulation:
        out.print(Text(analysis.facts.emulation, style="dim"))
    for one in forecasts:
        out.print()
        out.print(forecast_text(one, question))


def _as_json(forecasts: list[Forecast], question: Question, paths: RunPaths, link: float | None) -> dict[str, Any]:
    return {
        "run": str(paths.root),
        "measured_link_bits_per_second": link,
        "threshold": question.threshold,
        "range_percentiles": list(RANGE_PERCENTILES),
        "series": [forecast_json(one) for one in forecasts],
    }
