"""What nodes answer, held against what an agent answers: a damaged or older node may say anything. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from harness.contract.events import LARGEST_NUMBER
from harness.contract.json_line import Json
from harness.errors import NodeError

_Test = Callable[[Any], bool]


def is_number(value: object) -> bool:
    """A finite number of a size that can be worked with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and is_number(value) and value >= 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _or_none(test: _Test) -> _Test:
    return lambda value: value is None or test(value)


def _is_data(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, dict) and _is_texts(each.get("wrong")) for each in value.values()
    )


def _is_bits(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", value) is not None


def _is_arrivals(value: object) -> bool:
    """Ages that do not grow, each with a count that does not fall."""
    if not isinstance(value, list) or not all(isinstance(each, list) and len(each) == 2 for each in value):
        return False
    if not all(is_number(age) and age >= 0 and _is_whole(count) for age, count in value):
        return False
    return all(age >= later and count <= more for (age, count), (later, more) in pairwise(value))


def _is_radio(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("interface"), str)
        and isinstance(value.get("address"), str | None)
        and isinstance(value.get("power_saving"), bool | None)
        and all(value.get(name) is None or is_number(value[name]) for name in ("signal_dbm", "bit_rate_mbit"))
    )


_PROBE: Mapping[str, _Test] = {
    "time": is_number,
    "asked_at": is_number,
    "cores": _or_none(_is_whole),
    "memory_bytes": _is_whole,
    "memory_available_bytes": _is_whole,
    "disk_free_bytes": _is_whole,
    "machine_id": lambda value: isinstance(value, str),
    "root_writable": lambda value: isinstance(value, bool),
    "sudo": lambda value: isinstance(value, bool),
    "sudo_says": lambda value: isinstance(value, str),
    "runtime": _or_none(lambda value: isinstance(value, dict)),
    "runtimes": lambda value: isinstance(value, dict) and all(isinstance(each, dict | None) for each in value.values()),
    "data": _is_data,
    "cpu": _or_none(lambda value: isinstance(value, dict)),
    "throttled": _or_none(_is_bits),
    "wireless": lambda value: isinstance(value, list) and all(map(_is_radio, value)),
    "running": _is_texts,
    "held": _or_none(lambda value: isinstance(value, dict)),
    "trials_bytes": _is_whole,
    "wrong_code": _is_texts,
    "noise": lambda value: isinstance(value, str),
}
_OPTIONAL = ("asked_at", "wrong_code", "noise", "cpu", "runtimes", "sudo_says", "wireless")
# Of runtime.json, as the role `runtime` writes it; each other list names what a part offers.
_RUNTIME: Mapping[str, _Test] = {
    "python": lambda value: isinstance(value, str),
    "stores": _is_texts,
}


def read_probe(node: str, answer: Json) -> Json:
    """A node's answer to `probe`; of its runtime nothing where that is not described as it should be.

    Raises NodeError where the answer is none.
    """
    wrong = [name for name, test in _PROBE.items() if name in answer and not test(answer[name])]
    wrong += [name for name in _PROBE if name not in answer and name not in _OPTIONAL]
    if wrong:
        told = {name: answer.get(name) for name in wrong[:3]}
        raise NodeError(
            node, f"its agent answers what no agent does: {str(told)[:200]}", "is its memory or its card damaged?"
        )
    runtime = answer["runtime"]
    faults = [name for name, test in _RUNTIME.items() if runtime is not None and not test(runtime.get(name))]
    if faults:
        return {**answer, "runtime": None, "runtime_fault": f"its runtime.json has no {' and no '.join(faults)}"}
    return answer


def read_reached(node: str, answer: Json) -> Json:
    """A node's answer to `connect`: how its peers were reached. Raises NodeError where it is none."""
    reached, rate = answer.get("reached"), answer.get("bytes_per_second")
    if (
        isinstance(reached, dict)
        and all(isinstance(value, str) or is_number(value) for value in reached.values())
        and (rate is None or (is_number(rate) and rate > 0))
        and _is_arrivals(answer.get("arrivals", []))
    ):
        return answer
    raise NodeError(
        node, f"its agent answers what no agent does: {str(answer)[:200]}", "is its memory or its card damaged?"
    )
