"""Nodes that share one medium, as on Wi-Fi: what it carries while all send at once, and how each node's radio is. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import itemgetter

from harness.check.findings import Finding, Probed
from harness.contract.json_line import Json
from harness.errors import NodeError

GOOD_MBIT, POOR_MBIT = 20.0, 5.0
"""From node to node: a good medium carries the one or more, a poor one less than the other."""
EVEN, UNEVEN = 0.8, 0.5
"""Of the median share: even where the least is at least the one, uneven where it is less than the other."""
WEAK_DBM = -70.0
"""A weaker signal leaves slow bit rates only."""

POOR_REMEDY = (
    "nearer to the access point, a channel that nobody else uses, 5 GHz; or cables, if only for nodes with servers"
)
UNEVEN_REMEDY = "look at the signal of {node}: nearer to the access point, away from metal"
WEAK_REMEDY = "bring it nearer to the access point, or give it a cable"
APART_DETAIL = "the nodes did not send at the same time for long enough to tell what their medium carries"
APART_REMEDY = "look at it again: harness check"
SAVING_REMEDY = "{site} --tags network"
_SAVING: Mapping[bool | None, str] = {
    True: "power saving is on", False: "power saving is off", None: "power saving not known",
}  # fmt: skip
_SUMMED_BYTES = 1e6
_PACE_SECONDS, _SHORTEST_SECONDS = 1.0, 0.5

Arrivals = Sequence[tuple[float, float]]
"""Of what a node sent: moments (s, in order, by one clock for all nodes) and the bytes that had come by then."""


def on_radio(probed: Sequence[Probed]) -> list[str]:
    """The nodes whose address is that of a radio."""
    return [each.node.name for each in probed if _radios(each)]


def radio_findings(probed: Probed, site: str) -> list[Finding]:
    """Signal, bit rate and power saving of the radio that a node is reached by; nothing of a node that has a cable."""
    found = []
    for radio in _radios(probed):
        signal, bit_rate, saving = (radio.get(name) for name in ("signal_dbm", "bit_rate_mbit", "power_saving"))
        weak = signal is not None and signal < WEAK_DBM
        parts = [
            f"signal {signal:.0f} dBm{', which is weak' if weak else ''}" if signal is not None else "signal not known",
            f"sends at {bit_rate:g} Mbit/s" if bit_rate is not None else "bit rate not known",
            _SAVING[saving],
        ]
        remedies = [*([WEAK_REMEDY] if weak else []), *([SAVING_REMEDY.format(site=site)] if saving else [])]
        detail = f"{radio['interface']}: {', '.join(parts)}"
        found.append(Finding(probed.node.name, "wifi", "warning" if remedies else "ok", detail, "; ".join(remedies)))
    return found


def _radios(probed: Probed) -> list[Json]:
    """Those that have the node's address."""
    return [radio for radio in probed.answer.get("wireless") or () if radio["address"] == probed.node.address]


def shared_findings(answers: Mapping[str, Json | NodeError], dilation: float = 1.0) -> list[Finding]:
    """What the nodes' medium carries while all send at once, in undilated time; nothing where not all of them could.

    `answers` are by node what `connect` said, with moments of one clock in `arrivals`.
    """
    arrivals = {
        node: [] if isinstance(answer, NodeError) else answer.get("arrivals", []) for node, answer in answers.items()
    }
    if len(arrivals) < 2 or not all(arrivals.values()):
        return []
    rates = common_rates(arrivals)
    if not any(rates.values()):
        return [Finding("all", "network", "warning", APART_DETAIL, APART_REMEDY)]
    shares = {node: rate * dilation * 8 / 1e6 for node, rate in rates.items()}
    least, usual, capacity = (
        min(shares, key=shares.__getitem__),
        statistics.median(shares.values()),
        sum(shares.values()),
    )
    evenness = shares[least] / usual if usual else 0.0
    uneven, poor = evenness < UNEVEN, capacity < POOR_MBIT
    grade = "good" if capacity >= GOOD_MBIT else "poor" if poor else "fair"
    shared = "even" if evenness >= EVEN else "uneven" if uneven else "not quite even"
    detail = (
        f"the medium that the nodes share carries {capacity:.1f} Mbit/s from node to node while all {len(shares)} send"
        f" ({grade}), "
        f"{shares[least]:.1f} to {max(shares.values()):.1f} from each ({shared}"
        f"{f': {least} has the least' if shared != 'even' else ''}); "
        f"to add up 1 MB of gradients over all of them takes {_sum_seconds(len(shares), capacity):.2g} s"
    )
    remedies = [*([UNEVEN_REMEDY.format(node=least)] if uneven else []), *([POOR_REMEDY] if poor else [])]
    return [Finding("all", "network", "warning" if remedies else "ok", detail, "; ".join(remedies))]


def common_rates(arrivals: Mapping[str, Arrivals]) -> dict[str, float]:
    """By node the bytes per second in the time when all of them were sending; nothing where that was too short to tell.

    A node that begins early or ends late has the medium for itself then: that is no share of what all have. Nor is what the
    last to begin gets while TCP finds its pace.
    """
    begin = max(each[0][0] for each in arrivals.values()) + _PACE_SECONDS
    end = min(each[-1][0] for each in arrivals.values())
    if end - begin < _SHORTEST_SECONDS:
        return {}
    return {node: (_come(each, end) - _come(each, begin)) / (end - begin) for node, each in arrivals.items()}


def _come(arrivals: Arrivals, moment: float) -> float:
    """Bytes that had come by a moment within; between two that were noted they came evenly."""
    after = bisect_left(arrivals, moment, key=itemgetter(0))
    (later, more), (earlier, count) = arrivals[after], arrivals[max(0, after - 1)]
    return count + (more - count) * (moment - earlier) / (later - earlier) if after else more


def _sum_seconds(nodes: int, capacity_mbit: float) -> float:
    """What an all-reduce of _SUMMED_BYTES takes: each node sends 2 (n-1)/n of them, all over one medium."""
    return 2 * (nodes - 1) * _SUMMED_BYTES * 8 / (capacity_mbit * 1e6)
