"""A forecast for the terminal and as JSON values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.display import text
from harness.predict.fit import HeldOut
from harness.predict.forecast import Forecast, Range, Row, Scenario, show_rate
from harness.predict.model import COSTS
from harness.predict.question import Question

# More rows than this are thinned out on the terminal; the JSON has all.
_ALL_ROWS = 14
_BAR = 0.10
_UNIT = re.compile(r"(?<=\d)( ?[^\d\s.,]+)$")


def forecast_text(one: Forecast, question: Question) -> Group:
    """One series: its costs, its error on held-out sizes, every size as measured and predicted, and the what-ifs."""
    measured = one.measured
    kind = f" ({text.CONTROL})" if measured.control else ""
    sizes = ", ".join(map(str, measured.sizes))
    parts: list[RenderableType] = [
        Text(f"{measured.label}{kind}", style="bold"),
        Text(f"fitted to {text.nodes(len(measured.sizes)).replace('node', 'cluster size')}: {sizes}", style="dim"),
        *(Text(f"note: {note}", style="yellow") for note in one.notes),
        Text(),
        _costs(one),
        *_held_out(one.fit.held_out),
        *_sizes(one, question),
        _what_ifs(one, question),
    ]
    return Group(*parts)


def forecast_json(one: Forecast) -> dict[str, Any]:
    """One series as JSON values; times in seconds, rates in bits a second, ranges as [low, high]."""
    fit = one.fit
    return {
        "series": one.measured.label,
        "control": one.measured.control,
        "notes": list(one.notes),
        "measured": [vars(point) for point in one.measured.points],
        "costs": {name: _range_json(cost) for name, cost in zip(COSTS, one.costs, strict=True)},
        "traffic": vars(fit.traffic),
        "held_out": [{**vars(held), "error": held.error} for held in fit.held_out],
        "held_out_mean_error": mean_error(fit.held_out),
        "held_out_worst_error": worst_error(fit.held_out),
        "spread": fit.spread,
        "scenarios": [
            {
                "name": scenario.name,
                **vars(scenario.conditions),
                "worthwhile_nodes": _range_json(scenario.worthwhile),
                "fastest_nodes": scenario.fastest,
                "sizes": [_row_json(row) for row in scenario.rows],
            }
            for scenario in one.scenarios
        ],
    }


def mean_error(held_out: Iterable[HeldOut]) -> float | None:
    """The mean of the held-out errors' sizes; None where nothing was held out."""
    errors = [abs(held.error) for held in held_out]
    return sum(errors) / len(errors) if errors else None


def worst_error(held_out: Iterable[HeldOut]) -> float | None:
    """The largest of the held-out errors' sizes; None where nothing was held out."""
    return max((abs(held.error) for held in held_out), default=None)


def _costs(one: Forecast) -> Table:
    image, step, group, peer, exposed, hidden = one.costs
    traffic, link = one.fit.traffic, one.fit.link_bits_per_second
    table = _table("cost", "fitted", "range", "paid")
    table.add_row("compute", *_time(image), "an image of a worker's batch")
    if step.high > 0:
        table.add_row("", *_time(step), "a step")
    table.add_row("messages", *_time(group), "a step of two nodes or more")
    table.add_row("", *_time(peer), "a step and further node")
    if link:
        shards = "every node" if traffic.servers is None else text.nodes(traffic.servers)
        table.add_row("bytes", text.size(traffic.even_bytes), "", f"a step, in equal shards on {shards}")
        table.add_row("", text.size(traffic.whole_bytes), "", "a step, whole on one node")
        rate = show_rate(link)
        if hidden.high > 0:
            table.add_row("wire", *_share(hidden), "of computing hides its phased time")
            table.add_row("", *_share(exposed), f"of the rest of that at {rate}")
        else:
            table.add_row("wire", *_share(exposed), f"of its phased time at {rate}")
    return table


def _held_out(held_out: tuple[HeldOut, ...]) -> list[RenderableType]:
    if not held_out:
        return [
            Text(
                "held out: nothing, two cluster sizes are too few; how far the prediction is off is not known",
                style="yellow",
            )
        ]
    table = _table("held out", "measured", "predicted", "error", "")
    for held in held_out:
        style = "" if abs(held.error) <= _BAR else "yellow"
        times = (text.seconds(held.measured_seconds), text.seconds(held.predicted_seconds))
        place = "beyond the others" if held.outside else ""
        table.add_row(text.nodes(held.nodes), *times, f"{held.error:+.1%}", place, style=style)
    mean, worst = mean_error(held_out), worst_error(held_out)
    within = sum(abs(held.error) <= _BAR for held in held_out)
    return [
        table,
        Text(
            f"held-out error: mean {text.percent(mean or 0, 1)}, worst {text.percent(worst or 0, 1)}; "
            f"{within} of {len(held_out)} sizes within {text.percent(_BAR)}"
        ),
    ]


def _sizes(one: Forecast, question: Question) -> list[Table]:
    base, *others = one.scenarios
    # What was asked for has its own table; of the usual steps the last table says enough.
    asked = _asked(others, question)
    return [_size_table(scenario, one.measured.sizes) for scenario in (base, asked) if scenario is not None]


def _size_table(scenario: Scenario, measured: tuple[int, ...]) -> Table:
    was_measured = any(row.measured_seconds is not None for row in scenario.rows)
    columns = ["measured"] if was_measured else []
    table = _table("nodes", *columns, "model", "range", "img/s", "speed-up", "next adds")
    table.title, table.title_justify = f"a step {scenario.name}", "left"
    shown = _thinned(scenario, measured)
    for row in scenario.rows:
        if row.nodes in shown:
            known = "predicted" if row.measured_seconds is None else text.seconds(row.measured_seconds)
            cells = [known] if was_measured else []
            style = "dim" if row.measured_seconds is None and was_measured else ""
            table.add_row(str(row.nodes), *cells, *_row_cells(row), f"{row.gain:+.2f}", style=style)
    return table


def _row_cells(row: Row) -> list[str]:
    return [
        text.seconds(row.seconds.value),
        _spanned(row.seconds, text.seconds),
        text.number(row.images_per_second.value),
        text.ratio(row.speedup.value),
    ]


def _asked(others: list[Scenario], question: Question) -> Scenario | None:
    link, batch = question.link_bits_per_second is not None, question.batch is not None
    if not (link or batch):
        return None
    if len(others) == 1:
        return others[0] if batch else None
    return others[2] if link and batch else others[0] if link else others[1]


def _what_ifs(one: Forecast, question: Question) -> Group:
    last = max(question.nodes)
    table = _table("what if", "img/s", "range", "speed-up", "pays to", "range", "fastest")
    table.title, table.title_justify = f"what if, at {text.nodes(last)}", "left"
    for scenario in one.scenarios:
        row = scenario.rows[-1]
        ends = scenario.worthwhile
        table.add_row(
            scenario.name,
            text.number(row.images_per_second.value),
            _spanned(row.images_per_second, text.number),
            text.ratio(row.speedup.value),
            _pays(ends.value, last),
            _spanned(ends, lambda nodes: _pays(nodes, last)),
            str(scenario.fastest),
        )
    caption = (
        f"A node pays while it adds at least {question.threshold:g} of one node's speed; speed-ups are against one node under "
        "the same conditions. Time only: what a larger batch does to accuracy must be measured."
    )
    return Group(table, Text(caption, style="dim"))


def _pays(nodes: float, last: int) -> str:
    if nodes >= last:
        return f"{last}+"
    return f"{max(nodes, 1):.0f}"


def _thinned(base: Scenario, measured: tuple[int, ...]) -> set[int]:
    sizes = [row.nodes for row in base.rows]
    if len(sizes) <= _ALL_ROWS:
        return set(sizes)
    powers = {2**exponent for exponent in range(12)} | {3 * 2**exponent for exponent in range(3, 12)}
    known = set(measured) if len(measured) <= _ALL_ROWS else set()
    return {sizes[0], sizes[-1], int(base.worthwhile.value), *(powers | known)} & set(sizes)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        folded, words = heading in ("what if", "paid"), heading in ("cost", "what if", "paid", "held out", "")
        table.add_column(heading, justify="left" if words else "right", no_wrap=not folded)
    return table


def _time(cost: Range) -> tuple[str, str]:
    return _short_time(cost.value), _spanned(cost, _short_time)


def _share(cost: Range) -> tuple[str, str]:
    return text.percent(cost.value), _spanned(cost, text.percent)


def _short_time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if 0 < seconds < 1e-3 else text.seconds(seconds)


def _spanned(span: Range, show: Callable[[float], str]) -> str:
    """`44 - 131 ms`, `0 - 92%`: a unit that both ends share is written once."""
    low, high = show(span.low), show(span.high)
    if low == high:
        return low
    unit = _UNIT.search(high)
    return f"{low.removesuffix(unit[0])} - {high}" if unit and low.endswith(unit[0]) else f"{low} - {high}"


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "nodes": row.nodes,
        "kind": "predicted" if row.measured_seconds is None else "measured",
        "measured_step_seconds": row.measured_seconds,
        "step_seconds": _range_json(row.seconds),
        "images_per_second": _range_json(row.images_per_second),
        "speedup": _range_json(row.speedup),
        "next_node_adds": row.gain,
    }


def _range_json(span: Range) -> dict[str, Any]:
    return {"value": _finite(span.value), "range": [_finite(span.low), _finite(span.high)]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
