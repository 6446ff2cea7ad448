"""An advice for the terminal and as JSON values."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from harness.advise.question import Advice, Question
from harness.advise.ranking import Option, advised, sentence, shown
from harness.check.memory import megabytes, setting_words, ways_out
from harness.console import out
from harness.display import text

CAPTION = (
    "An epoch: its steps alone, without validation; ±: by what is not known of hiding. sent: by a node in a step, exact up to"
    " headers. same: a step is that of one worker with all the batches; what others do to accuracy must be measured, and none"
    " trains many models. Nothing was run."
)


def print_advice(advice: Advice) -> None:
    """The answer in a sentence, the options as a table, what they rest on, and how to choose the one that is advised."""
    out.print(Text(sentence(advice.options), style="bold"))
    out.print(_table(advice))
    lines = [f"{name}: {words}" for name, words in advice.sources.items()]
    lines += [f"left out: {name}: {why}" for name, why in advice.left_out.items()]
    for line in (*_shortages(advice), *lines, CAPTION):
        out.print(Text(line, style="dim"))
    take = advised(advice.options)
    out.print(f"harness sweep EXPERIMENT --nodes {take.nodes} {_settings(take)}", soft_wrap=True)


def advice_json(question: Question, advice: Advice) -> dict[str, Any]:
    """The advice as JSON values; times in seconds, rates in bits a second, memory in bytes."""
    take = advised(advice.options)
    return {
        "answer": sentence(advice.options),
        "advised": {"name": take.name, "nodes": take.nodes, "parameters": dict(take.candidate.strategy.settings)},
        **dict(question.subject),
        "images_of_a_step": advice.batch,
        "link_bits_per_second": advice.machines.link_bits_per_second,
        "sources": dict(advice.sources),
        "left_out": dict(advice.left_out),
        "options": [_option_json(each) for each in advice.options],
    }


def _table(advice: Advice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("strategies", "nodes", "an epoch", "±", "speed-up", "sent", "memory", "same"):
        words = heading == "strategies"
        table.add_column(
            heading, justify="left" if words else "right", no_wrap=not words, min_width=18 if words else None
        )
    for each in _rows(advice):
        table.add_row(*_cells(each), style="" if each.one_model and each.fits else "dim")
    return table


def _rows(advice: Advice) -> list[Option]:
    return shown(advice.options, len(advice.machines.names))


def _cells(option: Option) -> list[str]:
    memory, seconds = option.candidate.estimate.memory, option.seconds
    return [
        option.name,
        str(option.nodes),
        text.seconds(seconds.value),
        text.percent(max(seconds.high / seconds.value - 1, 1 - seconds.low / seconds.value)),
        text.ratio(option.speedup),
        text.size(option.step_bytes),
        megabytes(memory.nbytes) if memory else text.UNKNOWN,
        "yes" if option.exact else "no" if option.one_model else "none",
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


def _option_json(option: Option) -> dict[str, Any]:
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
    }
