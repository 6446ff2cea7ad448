"""When homes share their models, and how: a rule over links. Of a home nothing else crosses the wire, but a flag a tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ..engines.base import Floats, Memory
from ..kvstores.allreduce.exchange import Exchange, added
from ..kvstores.allreduce.links import Links
from ..rules.average import Average
from .coding import Bytes8, Coder, decoded

FLOAT32, INT8 = "float32", "int8"
WIDTHS = {FLOAT32: 4, INT8: 1}
"""Bytes of a value, by how values travel."""
_SCALE_BYTES = 4
_SECONDS_AN_HOUR = 3600.0


def meeting_bytes(values: int, homes: int, wire: str = FLOAT32) -> float:
    """What a home sends in one meeting, without headers."""
    scales = 0 if wire == FLOAT32 else 2 * homes * _SCALE_BYTES
    return 2 * (homes - 1) / homes * (values * WIDTHS[wire] + scales)


def ticks_within(budget: float, bytes_of_meeting: float, tick_seconds: float) -> int:
    """The fewest ticks from one meeting to the next at which a home sends no more than `budget` bytes an hour."""
    return max(1, int(np.ceil(bytes_of_meeting / (budget * tick_seconds / _SECONDS_AN_HOUR))))


@dataclass
class Alarm:
    """Rings where the own loss says that something changed: its mean of the last ticks is `factor` times the lowest so far."""

    factor: float
    ticks: int = 5
    _losses: deque[float] = field(default_factory=deque)
    _lowest: float = float("inf")

    def hear(self, loss: float) -> bool:
        """Take a tick's loss, of images that were not trained on yet; whether it rings. After that it learns anew what
        is low."""
        self._losses.append(loss)
        if len(self._losses) > self.ticks:
            self._losses.popleft()
        mean = sum(self._losses) / len(self._losses)
        if len(self._losses) == self.ticks and mean > self.factor * self._lowest:
            self._losses.clear()
            self._lowest = float("inf")
            return True
        if len(self._losses) == self.ticks:
            self._lowest = min(self._lowest, mean)
        return False


@dataclass
class Policy:
    """In which ticks homes meet: every `every`-th, and every `alert_every`-th in the `alert_ticks` after an alarm."""

    every: int
    alert_every: int = 1
    alert_ticks: int = 0
    _since: int = 0
    _alert: int = 0

    def due(self, alarmed: bool) -> bool:
        """Count a tick; whether homes meet in it. `alarmed`: any home's alarm rang, so all homes say the same."""
        if alarmed:
            self._alert = self.alert_ticks
        self._since += 1
        meets = self._since >= (self.alert_every if self._alert > 0 else self.every)
        self._alert = max(0, self._alert - 1)
        if meets:
            self._since = 0
        return meets


class Circle:
    """The homes of a trial, and the values that they share."""

    def __init__(self, links: Links, shared: Memory, rule: Average, wire: str = FLOAT32) -> None:
        """`shared` are the own values of what is shared, the same in all homes; the rest of a model stays at home.

        Over the wire `int8` goes what they changed by, rounded.
        """
        self._links = links
        self._values = shared
        self._rule = rule
        first: Floats = shared.settled()
        rule.centre = first.copy()
        self._nothing: Floats = np.zeros(first.size, np.float32)
        coded = wire == INT8
        self._exchange = Exchange(links, 0, first.size, np.int8 if coded else np.float32)
        own = self._exchange.own
        self._coders = (Coder(first.size), Coder(own.stop - own.start)) if coded else None
        self._flags = Exchange(links, 0, links.workers, np.float32)

    def any(self, mine: bool) -> bool:
        """Whether any home says so."""
        if self._links.workers == 1:
            return mine
        return bool(self._flags.sum(np.full(self._links.workers, mine, np.float32))[0])

    @contextmanager
    def shared_values(self) -> Iterator[None]:
        """While this lasts, the model has the shared values of the last meeting: own steps since then know only own images."""
        values = self._values.settled()
        own = values.copy()
        values[:] = self._rule.centre
        yield
        self._values.settled()[:] = own

    def meet(self) -> None:
        """Share: the sum of what homes offer, merged slice by slice where it is added up."""
        own = self._values.settled()
        offered = self._rule.offer(own, self._nothing)
        self._rule.meet(0.0)
        if self._coders is None:
            self._exchange_values(offered)
        else:
            self._exchange_changes(offered, *self._coders)
        self._exchange.flush()
        self._rule.accept(own)

    def _exchange_values(self, offered: Floats) -> None:
        self._exchange.begin_reduce_scatter(offered)
        mine = self._exchange.own
        self._rule.merge(self._rule.centre[mine], added(self._exchange.end_reduce_scatter()))
        self._exchange.begin_all_gather(self._rule.centre)
        self._exchange.end_all_gather(self._rule.centre)

    def _exchange_changes(self, offered: Floats, sending: Coder, merging: Coder) -> None:
        """Weights add up to 1: the sum of what homes offer is the shared values and the sum of what each would change."""
        rule, mine = self._rule, self._exchange.own
        coded, scale = sending.encode(offered - rule.centre * rule.weight)
        scales = self._told(scale)
        self._exchange.begin_reduce_scatter(coded)
        rows = self._exchange.end_reduce_scatter()
        before = rule.centre[mine].copy()
        changes: Floats = rows.astype(np.float32) * scales[:, None]
        total = before + added(changes)
        after = before.copy()
        rule.merge(after, total)
        steps: Bytes8 = np.zeros(offered.size, np.int8)
        steps[mine], scale = merging.encode(after - before)
        scales = self._told(scale)
        self._exchange.begin_all_gather(steps)
        self._exchange.end_all_gather(steps)
        for place, each in zip(self._exchange.shards, scales, strict=True):
            rule.centre[place] += decoded(steps[place], each)

    def _told(self, scale: np.float32) -> Floats:
        """Every home's scale, by rank.

        Returns:
            (homes,) float32.
        """
        scales: Floats = np.zeros(self._links.workers, np.float32)
        scales[self._links.rank] = scale
        return self._flags.sum(scales)
