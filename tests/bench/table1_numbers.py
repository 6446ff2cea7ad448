"""What the runs of Table I say: seconds by cores, and the bars. Pure: rows of CSVs in, figures out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.row import Row, at_least, at_most

TREES = 8000
CORES = {1: 4, 2: 11, 3: 15, 4: 19, 5: 23, 6: 30}
"""By nodes, the cores of the published table's rows."""
PUBLISHED = {1: 901.0, 2: 237.0, 3: 181.0, 4: 152.0, 5: 134.0, 6: 124.0}
"""By nodes, its seconds."""
ALL = max(CORES)
SCHEDULER_NODE = "node02"

Cells = Mapping[str, str]


@dataclass(frozen=True)
class Tables:
    """The rows of one run directory."""

    trials: Sequence[Cells]
    epochs: Sequence[Cells]

    def trial(self, variant: str, nodes: int) -> Cells | None:
        """The trial of a variant at a size, where it ended well."""
        for row in self.trials:
            if (row["variant"], row["nodes"]) == (variant, str(nodes)) and row["status"] != "failed":
                return row
        return None

    def ranks(self, variant: str, nodes: int) -> list[Cells]:
        """The rows of that trial's ranks."""
        trial = self.trial(variant, nodes)
        return [row for row in self.epochs if trial and row["trial"] == trial["trial"]]


@dataclass(frozen=True)
class Curves:
    """Seconds for all trees, by nodes."""

    published: Mapping[int, float]
    again: Mapping[int, float]
    """The same way here: one thread, then joblib's Dask backend."""
    ours: Mapping[int, float]
    """One Pi with all its cores, then batches."""
    ideal: Mapping[int, float]
    """All trees over the rates that the nodes have alone, added up."""
    best: Mapping[int, float]
    """The best schedule by the rates that the cores had in the trials of ours."""


def curves(run: Tables) -> Curves:
    """Seconds of each row; those of trials with fewer trees are multiplied."""
    again = {1: run.trial("serial", 1), **{size: run.trial("joblib", size) for size in CORES if 1 < size < ALL}}
    again[ALL] = run.trial("joblib_whole", ALL)
    ours = {1: run.trial("corrected", 1), **{size: run.trial("batches", size) for size in CORES if size > 1}}
    rates = node_rates(run.ranks("alone", ALL))
    ideal = {size: TREES / sum(rates[:size]) for size in CORES if size <= len(rates)}
    return Curves(PUBLISHED, _seconds(again), _seconds(ours), ideal, _seconds(ours, "best_seconds"))


def node_rates(ranks: Iterable[Cells]) -> list[float]:
    """Items a second that each node did for itself, in the order of the nodes."""
    found = {row["node"]: float(row["images"]) / float(row["train_seconds"]) for row in ranks}
    return [found[node] for node in sorted(found)]


def _seconds(trials: Mapping[int, Cells | None], column: str = "train_seconds") -> dict[int, float]:
    return {size: TREES * float(row[column]) / float(row["images"]) for size, row in trials.items() if row is not None}


def bars(
    run: Tables, killed: Tables | None, search: Tables | None, peers: Tables | None, minutes: float | None
) -> list[Row]:
    """The project's promises for Table I; what was not measured has no value."""
    ours, joblib = run.trial("batches", ALL), run.trial("joblib_whole", ALL)
    whole = [row for row in (*run.trials, *(killed.trials if killed else ())) if row["status"] != "failed"]
    digests = {row["weights_sha256"] for row in whole if row["trees"] == str(TREES)}
    over = _over_best(ours)
    faster = _times(joblib, ours)
    rows = [
        _row("time over the best schedule by the run's rates, 30 cores", over, at_most(1.05)),
        _row("joblib's Dask backend over batches, 30 cores", faster, at_least(2.0)),
        _row("workers' bytes sent over their trees' bytes", _traffic(run), at_most(1.1)),
        _row("different forests of 8,000 trees", len(digests) or None, at_most(1)),
        _row("whole Table I", minutes, at_most(40.0), "min"),
        *_kill_rows(run, killed),
        *_search_rows(search),
        *_peer_rows(peers),
    ]
    if joblib:
        for role in ("driver", "scheduler"):
            cost = 1000 * float(joblib[f"{role}_cpu_seconds"]) / TREES
            rows.append(_row(f"joblib's backend: the {role}'s processor a tree", cost, None, "ms of this machine"))
    return rows


def _row(what: str, value: float | None, bar: object, unit: str = "") -> Row:
    return Row(what, unit, () if value is None else (value,), bar)  # type: ignore[arg-type]


def _traffic(run: Tables) -> float | None:
    """Of the workers that have a node to themselves: the wire of the scheduler's node carries everything."""
    own = [row for row in run.ranks("batches", ALL) if row["rank"] != "0" and row["node"] != SCHEDULER_NODE]
    results = sum(float(row["result_bytes"]) for row in own)
    return sum(float(row["bytes_sent"]) for row in own) / results if results else None


def _kill_rows(run: Tables, killed: Tables | None) -> list[Row]:
    """What the loss of a node cost beyond its trees: those that it had not sent, done by the others."""
    what = "a worker killed in the middle: seconds beyond its trees'"
    before, after = run.trial("batches", ALL), killed.trial("batches", ALL) if killed else None
    if not before or not after or not killed:
        return [_row(what, None, at_most(10.0), "s")]
    there = {row["node"] for row in killed.ranks("batches", ALL) if row["rank"] != "0"}
    whole = {row["node"]: float(row["images"]) for row in run.ranks("batches", ALL) if row["rank"] != "0"}
    gone = sum(images for node, images in whole.items() if node not in there)
    sent = sum(float(row["images"]) for row in killed.ranks("batches", ALL) if row["rank"] == "0")
    rate = sum(images for node, images in whole.items() if node in there) / float(before["train_seconds"])
    cost = float(after["train_seconds"]) - float(before["train_seconds"]) - (gone - sent) / rate
    return [
        _row(what, cost, at_most(10.0), "s"),
        _row("trees that were grown again for it", float(after["redone"]), None),
    ]


def _search_rows(search: Tables | None) -> list[Row]:
    ours, joblib = (search.trial(name, ALL) if search else None for name in ("batches", "joblib"))
    faster = _times(joblib, ours)
    rates = node_rates(search.ranks("alone", ALL)) if search else []
    ideal = float(ours["images"]) / sum(rates) / float(ours["train_seconds"]) if ours and rates else None
    best = float(ours["best_seconds"]) / float(ours["train_seconds"]) if ours else None
    return [
        _row("grid search: joblib's Dask backend over batches, 30 cores", faster, at_least(1.0)),
        _row("grid search: efficiency by the nodes' rates", ideal, at_least(0.9)),
        _row("grid search: share of the best schedule of as many equal fits", best, None),
    ]


def _peer_rows(peers: Tables | None) -> list[Row]:
    """How many times as long as batches others need for the same forest on the same nodes."""
    ours = peers.trial("batches", ALL) if peers else None
    found: dict[str, float | None] = {}
    for whose, variant in (("joblib's Dask backend", "joblib"), ("Ray's joblib backend", "ray")):
        theirs = peers.trial(variant, ALL) if peers else None
        doubt = ", suspect: the machine was too busy" if theirs and theirs["status"] == "suspect" else ""
        found[f"{whose} over batches, 30 cores{doubt}"] = _times(theirs, ours)
    alone = [float(row["train_seconds"]) for row in peers.ranks("alone", ALL)] if peers else []
    fastest = min(alone) / float(ours["train_seconds"]) if ours and alone else None
    found["the fastest node by itself over batches on all"] = fastest
    many = _over_best(peers.trial("many", ALL)) if peers else None
    return [
        *(_row(f"2,000 trees: {what}", value, None) for what, value in found.items()),
        _row("32,000 trees: time over the best schedule, 30 cores", many, None),
    ]


def _over_best(trial: Cells | None) -> float | None:
    return float(trial["train_seconds"]) / float(trial["best_seconds"]) if trial else None


def _times(trial: Cells | None, ours: Cells | None) -> float | None:
    return float(trial["train_seconds"]) / float(ours["train_seconds"]) if trial and ours else None
