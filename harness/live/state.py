"""From what is known of a run to the document that its page shows: numbers, and texts that are shown as they are. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.console import visible
from harness.contract.json_line import Json, mapping
from harness.display import text
from harness.live import tables
from harness.live.epochs import images_per_step, number
from harness.live.planned import Planned
from harness.live.seen import Current, Seen
from harness.results.rows import moment_of
from harness.sweep.pace import Costs, clock


@dataclass(frozen=True)
class _Sums:
    """How many trials are over, by status, and which are left."""

    statuses: Counter[str]
    left: list[str]

    @property
    def done(self) -> int:
        return self.statuses.total()


def not_begun() -> Json:
    """The document of a sweep that has no run directory yet."""
    return {"phase": "waiting", "place": "", "note": "The nodes are examined. The run begins after that."}


def unreadable(place: str, why: str) -> Json:
    """The document of a run whose directory is gone, or cannot be read."""
    return {"phase": "unreadable", "place": visible(place), "note": visible(why)}


def document(seen: Seen) -> Json:
    """What the page shows. Every number in it is finite, and no text has control characters."""
    sums = _Sums(
        Counter(str(row.get("status")) for row in seen.rows.values()),
        [trial for trial in seen.planned if trial not in seen.rows and trial != seen.running],
    )
    phase = "running" if seen.written else "ended" if sums.done and not sums.left else "stopped"
    return {
        "phase": phase,
        "place": visible(seen.place),
        "note": _note(phase, len(sums.left)),
        "experiment": visible(str(mapping(seen.manifest.get("experiment")).get("name") or "run")),
        "about": [visible(each) for each in _about(seen)],
        "progress": _progress(seen, sums),
        "current": _current(seen, seen.current) if seen.current else None,
        "courses": tables.courses(seen),
        "rates": tables.rates(seen),
        "nodes": tables.nodes(seen),
        "wire": tables.wire_note(seen),
        "power": tables.power_note(seen),
        "trials": tables.trials(seen),
        "logs": [
            {"rank": visible(rank), "lines": [visible(line) for line in lines]}
            for rank, lines in (seen.current.logs if seen.current else ())
        ],
    }


def _note(phase: str, left: int) -> str:
    if phase == "ended":
        return "The run has ended."
    if phase == "running":
        return ""
    missing = f", and {left} {'trial has' if left == 1 else 'trials have'} no result" if left else ""
    remedy = " The same sweep with --resume runs what is missing." if left else ""
    return f"No harness works on this run any more{missing}.{remedy}"


def _about(seen: Seen) -> list[str]:
    started = str(seen.manifest.get("started_at") or "")
    began = moment_of(started)
    kind = seen.cluster.get("kind")
    found = [f"{kind} cluster" if kind else "", started]
    if began is not None and seen.written:
        found.append(f"begun {clock(max(seen.moment - began, 0.0))} ago")
    if seen.dilation != 1:
        found.append(
            f"dilated time: seconds and rates are of undilated time (factor {seen.dilation:g}), times left are not"
        )
    return [each for each in found if each]


def _progress(seen: Seen, sums: _Sums) -> Json:
    running = 1 if seen.running else 0
    planned = sums.done + running + len(sums.left)
    parts = [
        f"{sums.done} of {planned} {'trial' if planned == 1 else 'trials'} done",
        *(f"{sums.statuses[status]} {status}" for status in ("suspect", "failed") if sums.statuses[status]),
        *(["1 running"] if running else []),
        *([f"{len(sums.left)} left"] if sums.left else []),
    ]
    left = _seconds_left(seen, sums) if seen.written else None
    share = seen.current.said.pace.share if seen.current and running else 0.0
    return {
        "text": ", ".join(parts),
        "left": "" if left is None else f"about {clock(left)} left",
        "share": (sums.done + share) / planned if planned else 0.0,
    }


def _seconds_left(seen: Seen, sums: _Sums) -> float | None:
    """Of the run, by the clock here; None while it is not known of all trials that are to come."""
    costs = Costs()
    for trial, row in seen.rows.items():
        if (seconds := number(row.get("total_seconds"))) is not None:
            costs.add(trial, seconds * seen.dilation)
    expected = [costs.expected(trial) for trial in sums.left]
    if seen.current and seen.running:
        foretold = seen.current.said.pace.seconds_left(seen.moment)
        expected.append(costs.rest(seen.running, seen.moment - seen.current.since, foretold))
    known = [seconds for seconds in expected if seconds is not None]
    return max(sum(known), 0.0) if known and len(known) == len(expected) else None


def _current(seen: Seen, current: Current) -> Json:
    pace, planned = current.said.pace, seen.planned.get(current.trial, Planned())
    runs = seen.running == current.trial
    steps = pace.steps_per_second if runs else None
    left = pace.seconds_left(seen.moment) if runs else None
    epochs = seen.epochs_of(current.trial)
    images = images_per_step(epochs) or (planned.batch or 0) * (current.said.workers or 0)
    rate = steps * seen.dilation * images if steps is not None and images else None
    if rate is None and runs and epochs:  # short epochs tell of too few steps
        rate = epochs[max(epochs)].images_per_second
    facts = [
        ("nodes", f"{planned.nodes}" if planned.nodes else ""),
        ("attempt", f"{current.attempt}" if current.attempt > 1 else ""),
        ("recovered", f"{current.recoveries}" if current.recoveries else ""),
        ("images/s", text.number(rate) if rate is not None else ""),
        ("steps/s", text.number(steps * seen.dilation) if steps is not None else ""),
        ("since its launch", clock(max(seen.moment - current.since, 0.0)) if runs else ""),
        ("left of it", f"about {clock(left)}" if left is not None else ""),
    ]
    return {
        "trial": visible(current.trial),
        "runs": runs,
        "doing": _doing(current) if runs else "over" if current.over or current.trial in seen.rows else "was cut off",
        "share": pace.share,
        "facts": [[name, value] for name, value in facts if value],
        "errors": [visible(error) for error in current.said.errors],
    }


def _doing(current: Current) -> str:
    said, pace = current.said, current.said.pace
    if said.ends:
        return "ending"
    if pace.epoch is None:
        return f"training begins, ready: {len(said.ready)}" if said.ready else "starting"
    epoch = f"epoch {pace.epoch:,.0f}{f' of {pace.epochs:,}' if pace.epochs else ''}"
    return f"{epoch}, step {pace.step:,.0f} of {pace.steps:,.0f}" if pace.step is not None else f"{epoch} done"
