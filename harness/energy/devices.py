"""How plugs are asked for the watts that they measure, and what they answer, as their makers document it. Pure.

- Shelly, first generation: `GET /meter/N`; `power` is W, and `is_valid` false where the meter has failed.
- Shelly, since the second: `GET /rpc/Switch.GetStatus?id=N`; `apower` is W.
- Tasmota: `GET /cm?cmnd=Status 10`; `StatusSNS.ENERGY.Power` is W, a list where the plug has several channels.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote, urlencode

from harness.contract.json_line import mapping
from harness.energy.address import MOST_WATTS, Plug


class MeterError(Exception):
    """A meter did not say what is drawn now; why, in words without its address."""


def path_of(plug: Plug) -> str:
    """What to ask a plug for; Tasmota's has the password in it, as Tasmota wants it."""
    if plug.kind == "shelly1":
        return f"/meter/{plug.channel}"
    if plug.kind == "shelly2":
        return f"/rpc/Switch.GetStatus?id={plug.channel}"
    login = {"user": plug.user, "password": plug.password} if plug.password else {}
    return f"/cm?{urlencode({**login, 'cmnd': 'Status 10'}, quote_via=quote)}"


def watts_in(plug: Plug, answer: Any) -> float:
    """The watts in a plug's answer (parsed JSON). Raises MeterError where there are none."""
    said = mapping(answer)
    if plug.kind == "shelly1":
        if said.get("is_valid") is False:
            raise MeterError("it says that its figure is not valid")
        return _watts(said.get("power"))
    if plug.kind == "shelly2":
        return _watts(said.get("apower"))
    power = mapping(mapping(said.get("StatusSNS")).get("ENERGY")).get("Power")
    if isinstance(power, list):
        power = power[plug.channel] if plug.channel < len(power) else None
    return _watts(power)


def _watts(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MeterError("its answer has no watts")
    if not 0 <= value <= MOST_WATTS:
        raise MeterError("its watts are no possible number")
    return float(value)
