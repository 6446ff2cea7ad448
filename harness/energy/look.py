"""Asks every meter once, so that one that does not answer is known before a sweep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from harness.check.findings import Finding
from harness.energy.address import Fixed, Meter, Plug
from harness.energy.devices import MeterError
from harness.energy.metering import Metered, Metering
from harness.energy.own_file import OwnRows
from harness.energy.request import ask

_AT_ONCE = 16
_REMEDY = "is it on, and its address right? A sweep goes on without it, and says so"


def meter_findings(metering: Metering) -> list[Finding]:
    """What each meter says now; one that does not answer is a warning, for a sweep needs none."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_finding, metering.things))


def _finding(metered: Metered) -> Finding:
    by = metered.by
    if isinstance(by, Fixed):
        where = f": {by.origin}" if by.origin else ""
        return Finding(metered.name, "power", "ok", f"{by.watts:g} W, {by.source}, not measured{where}")
    try:
        watts = _watts(metered.name, by)
    except MeterError as error:
        return Finding(metered.name, "power", "warning", f"{by.shown}: {error}", _REMEDY)
    return Finding(metered.name, "power", "ok", f"{watts} ({by.shown})")


def _watts(name: str, meter: Meter) -> str:
    if isinstance(meter, Plug):
        return f"{ask(meter):g} W"
    said = [watts for _, watts in OwnRows(meter.path, name, 0.0).new() if watts is not None]
    return f"{said[-1]:g} W" if said else "no row of it yet"
