"""Dilated time: a virtual cluster whose links and processors are slowed down by one factor, and what its times mean. Pure.

Everything on such a cluster takes `factor` times as long in the same proportions, while the one machine that carries all nodes
has `factor` times as long for the work that no switch and no board would do. Gupta et al., "To Infinity and Beyond: Time-Warped
Network Emulation" (NSDI 2006), slow down the clock that guests see; here they see real time, and times are divided afterwards.

Seconds that pass are divided. Seconds of processor time are not: the same work is the same work. A rate is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.contract.events import Event
from harness.launch.launcher import End, Outcome

_PASSING = "_seconds"
_PROCESSOR = "cpu_seconds"
_RATES = ("cpu_percent",)


def undilated_event(event: Event, factor: float) -> Event:
    """The event with the times that it would have had in real time."""
    return event if factor == 1 else Event(event.kind, _undilated(event.values, factor))


def undilated_sample(sample: Mapping[str, object], factor: float) -> Mapping[str, object]:
    """The same for a sample of a node's health."""
    return sample if factor == 1 else _undilated(sample, factor)


def undilated_outcome(outcome: Outcome, factor: float) -> Outcome:
    """The same for how long a trial and each of its ranks took."""
    started = outcome.startup_seconds
    return replace(
        outcome,
        startup_seconds=None if started is None else started / factor,
        total_seconds=outcome.total_seconds / factor,
        ends={n: End(_undilated(end.state, factor), end.seconds / factor) for n, end in outcome.ends.items()},
    )


def _undilated(values: Mapping[str, Any], factor: float) -> dict[str, Any]:
    return {key: _value(key, value, factor) for key, value in values.items()}


def _value(key: str, value: Any, factor: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if key.endswith(_PASSING) and not key.endswith(_PROCESSOR):
        return value / factor
    return value * factor if key in _RATES else value
