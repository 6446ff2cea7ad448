"""What must be known beside numbers of energy: what they are of, what is an estimate, and which samples are missing. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from harness.analysis.energy.sources import METER, Source
from harness.analysis.energy.spent import LEAST_COVERED, Spent

Found = Mapping[str, Mapping[str, Spent | None]]
"""By trial and name of a part; None where nothing is known of a node."""

_MENTIONED = 0.005
_MOST_LISTED = 5
_SAID = {"estimate": "An estimate, not measured", "declared": "Declared, not measured"}


def energy_notes(sources: Mapping[str, Source], found: Found) -> Iterator[str]:
    """Sentences on the energy of a run's trials."""
    yield _what(sources)
    yield from _fixed(sources, found)
    yield from _missing(found)
    yield from _unknown(found)
    silent = [f"{one.name} ({one.silent} of {one.asked} times)" for one in sources.values() if one.silent]
    if silent:
        yield f"Meters that did not answer: {_listed(silent)}."
    idle = [name for name, one in sources.items() if math.isnan(one.idle_watts)]
    if idle:
        yield f"What is drawn idle is not known of {_listed(idle)}."


def _what(sources: Mapping[str, Source]) -> str:
    nodes = [name for name, one in sources.items() if one.is_node]
    others = [name for name, one in sources.items() if not one.is_node]
    if not nodes:
        return f"Energy is of {_listed(others)}, whole in every trial; no node has a meter of its own."
    also = f", and of {_listed(others)}, whole in every trial" if others else "; switch and controller are not in it"
    return f"Energy is of the trial's nodes{also}."


def _fixed(sources: Mapping[str, Source], found: Found) -> Iterator[str]:
    """Whose watts nothing measured, where they were used."""
    used = {
        name
        for parts in found.values()
        for name, one in parts.items()
        if one is not None and one.source not in (METER, "")
    }
    alike: dict[tuple[str, float, float, str], list[str]] = {}
    for name, one in sources.items():
        if name in used:
            idle = math.inf if math.isnan(one.idle_watts) else one.idle_watts  # a NaN is no key
            alike.setdefault((one.fixed_source, one.fixed_watts, idle, one.origin), []).append(name)
    for (source, watts, idle, origin), names in alike.items():
        rest = "" if math.isinf(idle) else f" and idle {idle:g} W"
        where = f" ({origin})" if origin else ""
        yield f"{_SAID.get(source, source)}: {_listed(names)} at {watts:g} W{rest}{where}."


def _missing(found: Found) -> Iterator[str]:
    gaps = [
        f"{name} in {trial} ({1 - one.covered:.1%} of the time)"
        for trial, parts in found.items()
        for name, one in parts.items()
        if one is not None and one.source == METER and 1 - one.covered > _MENTIONED
    ]
    if gaps:
        yield f"Samples are missing, and the mean of the others stands for them: {_listed(gaps)}."


def _unknown(found: Found) -> Iterator[str]:
    """Why trials have no energy."""
    few = [
        f"{trial} ({name}: {0 if math.isnan(one.covered) else one.covered:.0%})"
        for trial, parts in found.items()
        for name, one in parts.items()
        if one is not None and not one.source
    ]
    if few:
        yield (
            f"No energy is given where samples cover less than {LEAST_COVERED:.0%} of a trial's time: {_listed(few)}."
        )
    lacking = sorted({name for parts in found.values() for name, one in parts.items() if one is None})
    if lacking:
        yield f"No energy is given of trials with nodes of which nothing is known: {_listed(lacking)}."


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - _MOST_LISTED} more" if len(words) > _MOST_LISTED else ""
    return ", ".join(words[:_MOST_LISTED]) + more
