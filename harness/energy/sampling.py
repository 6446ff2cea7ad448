"""Asks all meters while a sweep runs, and writes what they say to power.csv. Nothing that a meter does ends or delays a sweep.

Every meter has a thread of its own, and every request a limit. A meter that does not answer gets a row without watts.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.contract.columns import POWER_COLUMNS
from harness.energy.address import Fixed, Meter, Plug
from harness.energy.devices import MeterError
from harness.energy.metering import Metered, Metering
from harness.energy.own_file import OwnRows, Sample
from harness.energy.request import ask
from harness.errors import HarnessError
from harness.results.disk import Table
from harness.results.rows import Row, timestamp_at

STOP_SECONDS = 1.0
"""How long all threads together are waited for at the end; one that still waits for its meter writes no more."""


class Sampling:
    """While entered, keeps power.csv; does nothing where no power is known."""

    def __init__(self, metering: Metering, file: Path, warn: Callable[[str], None]) -> None:
        self._metering = metering
        self._table = Table(file, POWER_COLUMNS)
        self._warn = warn
        self._stopped = threading.Event()
        self._writing = threading.Lock()
        self._closed = False
        self._began = 0.0
        self._idle_until = math.inf if metering.waits_for_idle else -math.inf
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Sampling:
        """Begin. Raises BadInputError where a file of this name is there that the harness did not write."""
        if not self._metering.things:
            return self
        self._table.rewrite(self._table.read())
        self._began = time.time()
        for each in self._metering.things:
            self._say_fixed(each)
            if not isinstance(each.by, Fixed):
                name = f"power meter of {each.name}"
                self._threads.append(
                    threading.Thread(target=self._follow, args=(each, each.by), name=name, daemon=True)
                )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        ends = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        with self._writing:
            self._closed = True

    def measure_idle(self) -> None:
        """Let the meters say for some seconds what is drawn while nothing runs."""
        if self._metering.waits_for_idle:
            time.sleep(self._metering.idle_seconds)
            self._idle_until = time.time()

    def _say_fixed(self, metered: Metered) -> None:
        """What holds for the whole sweep: watts that nothing measures, and idle watts that were declared."""
        by = metered.by
        source, origin = (by.source, by.origin) if isinstance(by, Fixed) else ("declared", "")
        if by.idle_watts is not None:
            self._write(metered, [(self._began, by.idle_watts)], "idle", source, origin)
        if isinstance(by, Fixed):
            self._write(metered, [(self._began, by.watts)], "busy", source, origin)

    def _follow(self, metered: Metered, meter: Meter) -> None:
        """Ask one meter again and again."""
        read = _reader(metered.name, meter, self._began)
        silent = False
        while not self._stopped.is_set():
            asked = time.monotonic()
            samples, why = _read(read)
            if why and not silent and not self._stopped.is_set():
                self._warn(
                    f"the power meter of {metered.name} ({meter.shown}): {why}; until it answers its samples are missing"
                )
            silent = bool(why)
            self._take(metered, meter, samples)
            self._stopped.wait(max(0.0, self._metering.interval_seconds - (time.monotonic() - asked)))
        if not isinstance(meter, Plug):  # what came since; a file makes nobody wait
            self._take(metered, meter, _read(read)[0])

    def _take(self, metered: Metered, meter: Meter, samples: Sequence[Sample]) -> None:
        idle = [sample for sample in samples if sample[0] < self._idle_until]
        busy = [sample for sample in samples if sample[0] >= self._idle_until]
        for state, chosen in (("idle", idle), ("busy", busy)):
            self._write(metered, chosen, state, "meter", meter.shown)

    def _write(self, metered: Metered, samples: Sequence[Sample], state: str, source: str, origin: str) -> None:
        with self._writing:
            for moment, watts in samples:
                if self._closed:
                    return
                row: Row = {
                    "time": timestamp_at(moment),
                    "node": metered.name, "part": metered.part, "watts": watts,
                    "state": state, "source": source, "origin": origin,
                }  # fmt: skip
                try:
                    self._table.append(row)
                except HarnessError as error:
                    self._closed = True
                    self._warn(f"no more samples of power are kept: {error.message}")


def _reader(name: str, meter: Meter, since: float) -> Callable[[], list[Sample]]:
    if isinstance(meter, Plug):
        return lambda: [(time.time(), ask(meter))]
    return OwnRows(meter.path, name, since).new


def _read(read: Callable[[], list[Sample]]) -> tuple[list[Sample], str]:
    """What a meter says, and why it says nothing."""
    try:
        return read(), ""
    except MeterError as error:
        return [(time.time(), None)], str(error)
