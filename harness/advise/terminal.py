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
    "An epoch is its steps alone, without validation. same: a step is that of one worker with all the batches; what other ways do"
    " to accuracy must be measured. Bytes are exact up to headers. Nothing was run."
)


def print_advice(advice: Advice) -> None:
    """The answer in a sentence, the options as a table, what they rest on, and how to choose the one that is advised."""
    out.print(Text(sentence(advice.options), style="bold"))
    out.print(_table(advice))
    for name, words in (*advice.sources.items(), *((f"left out: {name}", why) for name, why in advice.left_out.items())):
        out.print(Text(f"{name}: {words}", style="dim"))
    out.print(Text(CAPTION, style="dim"))
    take = advised(advice.options)
    out.print(f"harness sweep EXPERIMENT --nodes {take.nodes} {_settings(take)}", soft_wrap=True)


def advice_json(question: Question, advice: Advice) -> dict[str, Any]:
    """The advice as JSON values; times in seconds, rates in bits a second, memory in bytes."""
    take = advised(advice.options)
    return {
        "answer": sentence(advice.options),
        "advised": {"strategy": take.name, "nodes": take.nodes, "settings": dict(take.candidate.strategy.settings)},
        **dict(question.subject),
        "images_of_a_step": advice.batch,
        "link_bits_per_second": advice.machines.link_bits_per_second,
        "sources": dict(advice.sources),
        "left_out": dict(advice.left_out),
        "options": [_option_json(each) for each in advice.options],
    }


def _table(advice: Advice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    words = ("strategy", "same", "")
    for heading in ("strategy", "nodes", "an epoch", "range", "speed-up", "sent a step", "memory", "same", ""):
        table.add_column(heading, justify="left" if heading in words else "right", no_wrap=heading not in words)
    for each in shown(advice.options, len(advice.machines.names)):
        table.add_row(*_cells(each), style="" if each.one_model and each.fits else "dim")
    return table


def _cells(option: Option) -> list[str]:
    memory, seconds = option.candidate.estimate.memory, option.seconds
    return [
        option.name,
        str(option.nodes),
        text.seconds(seconds.value),
        text.between(seconds.low, seconds.high, text.seconds, "-"),
        text.ratio(option.speedup),
        text.size(option.step_bytes),
        megabytes(memory.nbytes) if memory else text.UNKNOWN,
        "yes" if option.exact else "no",
        _remark(option),
    ]


def _remark(option: Option) -> str:
    if not option.one_model:
        return "many models"
    if not option.fits:
        ways = ways_out(option.candidate.estimate)
        return f"too much: use {ways}" if ways else "too much"
    return ""


def _settings(option: Option) -> str:
    return setting_words(option.candidate.strategy.settings)


def _option_json(option: Option) -> dict[str, Any]:
    estimate = option.candidate.estimate
    return {
        "strategy": option.name,
        "settings": dict(option.candidate.strategy.settings),
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
