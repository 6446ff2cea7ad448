"""An advice for the terminal and as JSON values."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from harness.advise.curves import Curves
from harness.advise.question import Advice, Question
from harness.advise.ranking import Option, advised, sentence, shown
from harness.advise.trying import EPOCHS, Tried, TriedRun
from harness.check.memory import megabytes, setting_words, ways_out
from harness.console import out
from harness.display import text

CAPTION = (
    "An epoch: its steps alone, without validation; ±: by what is not known of hiding. sent: by a node in a step, exact up to"
    " headers. same: a step is that of one worker with all the batches; what others do to accuracy must be measured, and none"
    " trains many models."
)


def print_advice(advice: Advice, *, tries: bool) -> None:
    """The answer in a sentence, the options as a table, what they rest on, and how to choose the one that is advised.

    `tries` is whether some of them are run afterwards.
    """
    out.print(Text(sentence(advice.options), style="bold"))
    if advice.curves:
        out.print(Text(_to_accuracy(advice, advice.curves), style="bold"))
    out.print(_table(advice))
    lines = [f"{name}: {words}" for name, words in advice.sources.items()]
    lines += [f"left out: {name}: {why}" for name, why in advice.left_out.items()]
    if advice.curves:
        lines.append(f"steps to {text.percent(advice.curves.accuracy)}: measured in {advice.curves.run}")
    for line in (*_shortages(advice), *lines, CAPTION, *(() if tries else ("Nothing was run.",))):
        out.print(Text(line, style="dim"))
    take = advised(advice.options)
    out.print(f"harness sweep EXPERIMENT --nodes {take.nodes} {_settings(take)}", soft_wrap=True)


def print_tried(advice: Advice, run: TriedRun) -> None:
    """What was measured beside what was expected."""
    curves = advice.curves
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    goal = [f"to {text.percent(curves.accuracy)}"] if curves else []
    for heading in ("tried", "nodes", "a step, expected", "measured", "off", "an epoch", *goal):
        table.add_column(heading, justify="left" if heading == "tried" else "right")
    for each in run.tried:
        table.add_row(
            each.option.name,
            str(each.option.nodes),
            text.seconds(each.expected_seconds),
            "failed" if each.measured_seconds is None else text.seconds(each.measured_seconds),
            text.UNKNOWN if each.off is None else f"{each.off:+.0%}",
            _seconds(each.epoch_seconds),
            *([_seconds(_reached(each, curves))] if curves else []),
        )
    out.print(Text(run.sentence(), style="bold"))
    out.print(table)
    counted = f"{EPOCHS - 1} epochs of at most {run.steps} steps each, after one that is not counted"
    out.print(Text(f"{counted}. an epoch: a whole one, as far off.", style="dim"))
    out.print(f"run: {run.paths.root}", soft_wrap=True)


def advice_json(question: Question, advice: Advice, run: TriedRun | None) -> dict[str, Any]:
    """The advice, and what was tried of it, as JSON values; times in seconds, rates in bits a second, memory in bytes."""
    take = advised(advice.options)
    return {
        "answer": sentence(advice.options),
        "advised": {"name": take.name, "nodes": take.nodes, "parameters": dict(take.candidate.strategy.settings)},
        **dict(question.subject),
        "images_of_a_step": advice.batch,
        "link_bits_per_second": advice.machines.link.rate,
        "shared_medium": advice.machines.link.shared,
        "sources": dict(advice.sources),
        "left_out": dict(advice.left_out),
        "options": [_option_json(each, advice.curves) for each in advice.options],
        **({"accuracy": advice.curves.accuracy, "accuracy_from": advice.curves.run} if advice.curves else {}),
        **({"tried": _tried_json(run, advice.curves)} if run else {}),
    }


def _table(advice: Advice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    curves = advice.curves
    goal = [f"to {text.percent(curves.accuracy)}"] if curves else []
    spread = [] if curves else ["±"]
    for heading in ("strategies", "nodes", "an epoch", *spread, "speed-up", "sent", "memory", "same", *goal):
        words = heading == "strategies"
        table.add_column(
            heading, justify="left" if words else "right", no_wrap=not words, min_width=18 if words else None
        )
    for each in _rows(advice):
        table.add_row(*_cells(each, curves), style="" if each.one_model and each.fits else "dim")
    return table


def _to_accuracy(advice: Advice, curves: Curves) -> str:
    """Which option reaches the accuracy first, of those whose curve is known."""
    found = curves.quickest(advice.options)
    if found is None:
        return f"to {text.percent(curves.accuracy)}: never reached in {curves.run}"
    seconds, option = found
    return (
        f"to {text.percent(curves.accuracy)}: {option.name} on {text.nodes(option.nodes)} in {text.seconds(seconds)},"
        f" the least of the {len(curves.steps)} whose curve is known"
    )


def _reached(tried: Tried, curves: Curves) -> float | None:
    """The seconds to the accuracy by the measured step."""
    return None if tried.measured_seconds is None else curves.seconds(tried.option, tried.measured_seconds)


def _seconds(value: float | None) -> str:
    return text.UNKNOWN if value is None else text.seconds(value)


def _rows(advice: Advice) -> list[Option]:
    return shown(advice.options, len(advice.machines.names))


def _cells(option: Option, curves: Curves | None) -> list[str]:
    memory, seconds = option.candidate.estimate.memory, option.seconds
    spread = max(seconds.high / seconds.value - 1, 1 - seconds.low / seconds.value)
    return [
        option.name,
        str(option.nodes),
        text.seconds(seconds.value),
        *([] if curves else [text.percent(spread)]),
        text.ratio(option.speedup),
        text.size(option.step_bytes),
        megabytes(memory.nbytes) if memory else text.UNKNOWN,
        "yes" if option.exact else "no" if option.one_model else "none",
        *([_seconds(curves.seconds(option))] if curves else []),
    ]


def _shortages(advice: Advice) -> list[str]:
    """What does not fit of the rows that are shown, and what would."""
    lacking = [each for each in _rows(advice) if not each.fits]
    ways = [(each, ways_out(each.candidate.estimate)) for each in lacking]
    return [
        f"too much memory: {each.name} on {text.nodes(each.nodes)}{f': use {way}' if way else ''}" for each, way in ways
    ]


def _settings(option: Option) -> str:
    return setting_words(option.candidate.strategy.settings)


def _tried_json(run: TriedRun, curves: Curves | None) -> dict[str, Any]:
    options = [
        {
            "name": each.option.name,
            "nodes": each.option.nodes,
            "expected_step_seconds": each.expected_seconds,
            "measured_step_seconds": each.measured_seconds,
            "off": each.off,
            "epoch_seconds": each.epoch_seconds,
            **({"accuracy_seconds": _finite(_reached(each, curves))} if curves else {}),
        }
        for each in run.tried
    ]
    return {"run": str(run.paths.root), "steps": run.steps, "answer": run.sentence(), "options": options}


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: what was never reached has no time."""
    return value if value is not None and math.isfinite(value) else None


def _option_json(option: Option, curves: Curves | None) -> dict[str, Any]:
    estimate = option.candidate.estimate
    return {
        "name": option.name,
        "parameters": dict(option.candidate.strategy.settings),
        "nodes": option.nodes,
        "epoch_seconds": {"value": option.seconds.value, "range": [option.seconds.low, option.seconds.high]},
        "speedup": option.speedup,
        "steps": estimate.steps,
        "meetings": estimate.traffic.meetings if estimate.traffic else None,
        "computing_seconds": option.computing_seconds,
        "wire_seconds": option.wire_seconds,
        "sent_bytes": option.step_bytes,
        "memory": estimate.memory.nbytes if estimate.memory else None,
        "fits": option.fits,
        "same": option.exact,
        "one_model": option.one_model,
        **({"accuracy_seconds": _finite(curves.seconds(option))} if curves else {}),
    }
