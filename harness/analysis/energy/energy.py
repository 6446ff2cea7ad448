"""The energy of a run's trials: of all parts together, up to each accuracy, and of each part. Pure.

A trial's energy is that of its nodes, and of all else that has a meter (switch, controller): those count whole, whichever
nodes the trial has. Where one of these is not known, the sum is not known either. Where no node of the run has a meter or an
estimate of its own, the sum is of what is no node, such as one plug for the whole cluster.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.analysis.energy.notes import energy_notes
from harness.analysis.energy.sources import Source, read_sources
from harness.analysis.energy.spent import Spent, spent
from harness.analysis.energy.windows import Windows, windows_of
from harness.analysis.metrics import ENERGY
from harness.analysis.statistics.intervals import Array

_PARTS = ("trial", "name", "source", "watts", "idle_watts", "epoch_joules", "covered")
_REACHED = ("trial", "accuracy", "joules")
_CONTROLLER = "controller"
"""As ranks.csv calls this machine, which is no node: its meter counts where it has one."""
_UNNAMED = "nodes that no table names"


def _frame(rows: Sequence[tuple[object, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """Rows as a frame: all numbers but what says what they are of."""
    numbers = {name: "float64" for name in columns if name not in ("trial", "name", "source")}
    return pd.DataFrame(list(rows), columns=list(columns)).astype(numbers)


@dataclass(frozen=True)
class Energy:
    """What was drawn.

    - `trials`: one row a trial: `trial`, and those of METRICS that are energy.
    - `reached`: one row a trial and accuracy: `joules` up to the end of the first epoch that has it, inf where none has.
    - `parts`: one row a trial and part: the `name` of a node or of something else, `source` (empty: not known), mean `watts`,
      `idle_watts`, `epoch_joules`, and the share of the time that is `covered` by samples.
    - `notes`: what must be known beside the numbers.
    """

    trials: pd.DataFrame = field(default_factory=lambda: _frame((), ("trial", *ENERGY)))
    reached: pd.DataFrame = field(default_factory=lambda: _frame((), _REACHED))
    parts: pd.DataFrame = field(default_factory=lambda: _frame((), _PARTS))
    notes: tuple[str, ...] = ()
    kwh_price: float | None = None
    """Euros."""

    @property
    def is_known(self) -> bool:
        """Whether there is a number of any trial."""
        return bool(self.trials[list(ENERGY)].notna().any().any())

    @property
    def sources(self) -> tuple[str, ...]:
        """How it is known: declared, estimate, meter; empty where nothing is."""
        return tuple(sorted(set(self.parts["source"]) - {""}))


def energy_of(
    power: pd.DataFrame,
    ranks: pd.DataFrame,
    trials: pd.DataFrame,
    per_epoch: pd.DataFrame,
    epochs: pd.DataFrame,
    *,
    dilation: float = 1.0,
    accuracies: Collection[float] = (),
) -> Energy:
    """What a run's trials drew.

    Args:
        power: frame with the columns of power.csv, `watts` as float64 (units W), all else as text.
        ranks: frame with the columns of ranks.csv, `trial` and `node` as text (no units): which nodes a trial had.
        trials: frame with the columns of trials.csv, numbers as float64 (s), a row a measured trial.
        per_epoch: frame as `epochs.epoch_table` gives it (float64; s, images, fractions).
        epochs: frame with the columns of epochs.csv, numbers as float64 (s), `time` as text.
        dilation: the clock ran so many times as fast as reported seconds do.
        accuracies: fractions of 1.
    """
    if power.empty or trials.empty:
        return Energy()
    placed = _placed(ranks, epochs)
    sources = read_sources(power, frozenset(node for nodes in placed.values() for node in nodes))
    by_trial = {str(name): own.sort_values("epoch") for name, own in per_epoch.groupby("trial")}
    rows: list[tuple[object, ...]] = []
    reached: list[tuple[object, ...]] = []
    parts: list[tuple[object, ...]] = []
    found: dict[str, Mapping[str, Spent | None]] = {}
    for name, window in windows_of(trials, per_epoch, epochs, dilation).items():
        own = by_trial.get(name, per_epoch.iloc[:0])
        found[name] = _spent(sources, placed.get(name, frozenset()), window)
        joules, above, whole = _sums(found[name], len(window.seconds))
        rows.append((name, *_numbers(joules, above, whole, window, own)))
        reached += [(name, accuracy, _up_to(joules, own, accuracy)) for accuracy in accuracies]
        parts += [_part(name, sources[each], one, window) for each, one in found[name].items() if one is not None]
    return Energy(
        _frame(rows, ("trial", *ENERGY)),
        _frame(reached, _REACHED),
        _frame(parts, _PARTS),
        tuple(energy_notes(sources, found)),
    )


def _placed(ranks: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, frozenset[str]]:
    """By trial the nodes that ranks of it were on."""
    told = [frame[["trial", "node"]] for frame in (ranks, epochs) if "node" in frame]
    rows = pd.concat(told).dropna() if told else ranks
    return {str(name): frozenset(map(str, own)) - {_CONTROLLER, ""} for name, own in rows.groupby("trial")["node"]}


def _spent(sources: Mapping[str, Source], nodes: frozenset[str], window: Windows) -> dict[str, Spent | None]:
    """By name what each part of a trial drew, None for a node of which nothing is known while there is of others."""
    others = [name for name, source in sources.items() if not source.is_node]
    wanted = sorted(nodes - set(others)) or [_UNNAMED] if len(others) < len(sources) else []
    return {name: spent(sources[name], window) if name in sources else None for name in [*wanted, *others]}


def _sums(parts: Mapping[str, Spent | None], epochs: int) -> tuple[Array, Array, float]:
    """Energy up to each epoch's end, the same above idle, and in the whole; NaN where a part is not known."""
    known = [one for one in parts.values() if one is not None]
    if len(known) < len(parts) or not known:
        return np.full(epochs, np.nan), np.full(epochs, np.nan), math.nan
    joules, above = (np.sum([getattr(one, key) for one in known], axis=0) for key in ("joules", "above"))
    return joules, above, sum(one.whole for one in known)


def _numbers(joules: Array, above: Array, whole: float, window: Windows, own: pd.DataFrame) -> tuple[float, ...]:
    """The values of ENERGY, in its order."""
    count = len(joules)
    if not count:
        return whole / window.whole_seconds if window.whole_seconds else math.nan, math.nan, math.nan, math.nan, whole
    trained, seconds = float(joules[-1]), float(window.seconds.sum())
    images = float(own["images"].sum())
    return (
        trained / seconds if seconds > 0 else math.nan,
        trained / count,
        float(above[-1]) / count,
        images / trained if trained > 0 and images > 0 else math.nan,
        whole,
    )


def _up_to(joules: Array, own: pd.DataFrame, accuracy: float) -> float:
    """Energy up to the end of the first epoch with an accuracy; inf where none has it, NaN where no epoch was validated."""
    accuracies = own["validation_accuracy"].to_numpy(float)
    if not len(joules) or np.isnan(accuracies).all() or np.isnan(joules[-1]):
        return math.nan
    there = np.flatnonzero(accuracies >= accuracy)
    return float(joules[there[0]]) if len(there) else math.inf


def _part(trial: str, source: Source, one: Spent, window: Windows) -> tuple[object, ...]:
    count = len(one.joules)
    joules, seconds = (
        (float(one.joules[-1]), float(window.seconds.sum())) if count else (one.whole, window.whole_seconds)
    )
    watts = joules / seconds if seconds > 0 else math.nan
    epoch = joules / count if count else math.nan
    return trial, source.name, one.source, watts, source.idle_watts, epoch, one.covered
