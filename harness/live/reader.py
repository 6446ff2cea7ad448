"""Reads a run directory while somebody else writes it, each file's new part alone, and tells what is known now."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from harness.contract.json_line import Json, parse_json
from harness.live.epochs import Course
from harness.live.health import Health
from harness.live.planned import Planned, planned_trials
from harness.live.power import Power
from harness.live.running import Said
from harness.live.seen import Current, Seen
from harness.live.state import document, unreadable
from harness.live.tail import Ends, Rows, Tail
from harness.results.opening import is_being_written
from harness.results.rows import Row
from harness.results.run_paths import RunPaths

_LOG_LINES = 12
_LOG_CHARACTERS = 240
_RANK = re.compile(r"(.*?)(\d*)")


class RunReader:
    """Follows one run directory; not for several threads at once."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._manifest: Json = {}
        self._manifest_seen: tuple[int, int] | None = None
        self._planned: dict[str, Planned] = {}
        self._tables = {
            "trials": Rows(paths.trials),
            "epochs": Rows(paths.epochs),
            "telemetry": Rows(paths.telemetry),
            "power": Rows(paths.power),
        }
        self._rows: dict[str, Row] = {}
        self._courses: dict[str, Course] = {}
        self._health = Health()
        self._power = Power()
        self._trial: _Trial | None = None
        self._ends = Ends(_LOG_LINES, _LOG_CHARACTERS)

    def document(self) -> Json:
        """What the run's page shows now; also where the directory is gone or cannot be read, which it says."""
        place = str(self._paths.root)
        try:
            return document(self._read(place))
        except FileNotFoundError:
            return unreadable(place, "The run directory was removed.")
        except OSError as error:
            return unreadable(place, f"The run directory cannot be read: {error.strerror or error}.")

    def _read(self, place: str) -> Seen:
        """Read what is new. Raises OSError, FileNotFoundError where the run is gone."""
        self._read_manifest()
        written = self._is_written()
        current = self._read_current(written)
        for row in self._tables["trials"].read():
            if row is None:
                self._rows.clear()
            elif row.get("trial"):
                self._rows[str(row["trial"])] = row
        for row in self._tables["epochs"].read():
            if row is None:
                self._courses.clear()
            elif row.get("trial"):
                self._courses.setdefault(str(row["trial"]), Course()).add(row)
        sampled = ((self._tables["telemetry"], self._health), (self._tables["power"], self._power))
        for table, samples in sampled:
            for row in table.read():
                if row is None:
                    samples.clear()
                else:
                    samples.add(row)
        return Seen(
            place, self._manifest, self._planned, self._rows, self._courses, self._health, self._power, current, written,
            time.time(),
        )  # fmt: skip

    def _read_manifest(self) -> None:
        status = self._paths.manifest.stat()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._manifest_seen:
            return
        manifest = None
        with suppress(ValueError):
            manifest = parse_json(self._paths.manifest.read_bytes())
        self._manifest = manifest if isinstance(manifest, dict) else {}
        self._planned, self._manifest_seen = planned_trials(self._manifest), seen

    def _is_written(self) -> bool:
        """Whether a harness works on the run. An empty lock is nobody's: taking it to ask could refuse one that begins."""
        with suppress(FileNotFoundError):
            return self._paths.lock.stat().st_size > 0 and is_being_written(self._paths)
        return False

    def _read_current(self, written: bool) -> Current | None:
        """The trial that was begun last, and what its ranks said."""
        newest, moment = None, 0
        with suppress(FileNotFoundError), os.scandir(self._paths.root / "trials") as entries:
            for entry in entries:
                changed = entry.stat().st_mtime_ns
                if changed > moment and entry.is_dir():
                    newest, moment = entry.name, changed
        if newest is None:
            return None
        if self._trial is None or self._trial.name != newest:
            self._trial = _Trial(self._paths, newest, self._planned.get(newest, Planned()).epochs, moment / 1e9)
        with suppress(FileNotFoundError):
            # One that an earlier harness left is older than the lock of the one that works now.
            begun = written and moment >= self._paths.lock.stat().st_mtime_ns
            return self._trial.read(self._ends, begun)
        return None  # it was removed in between


class _Trial:
    """One trial's directory."""

    def __init__(self, paths: RunPaths, name: str, epochs: int | None, began: float) -> None:
        self.name = name
        self._directory, self._record = paths.trial(name), paths.trial_record(name)
        self._events = Tail(paths.trial_events(name))
        self._epochs, self._began = epochs, began
        self._said = Said(epochs)

    def read(self, ends: Ends, begun: bool) -> Current:
        """What it has said by now. Raises OSError, FileNotFoundError where it is gone."""
        for lines in self._events.read():
            if lines is None:
                self._said = Said(self._epochs)
                continue
            for line in lines:
                self._said.add(line)
        names = os.listdir(self._directory)  # noqa: PTH208 - no more than names
        logs = {name.removesuffix(".log"): self._directory / name for name in names if name.endswith(".log")}
        ends.keep(set(logs.values()))
        return Current(
            self.name,
            self._said,
            min(self._began, self._said.began or self._began),
            begun=begun,
            over=self._record.exists(),
            attempt=1 + sum(name.startswith("attempt") for name in names),
            recoveries=sum(name.startswith("recovery") for name in names),
            logs=[(rank, _lines(ends, logs[rank])) for rank in sorted(logs, key=_order)],
        )


def _lines(ends: Ends, path: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return ends.of(path)
    return []


def _order(rank: str) -> tuple[bool, str, int]:
    """Workers first, then other roles by name; each role by number."""
    found = _RANK.fullmatch(rank)
    role, number = found.groups() if found else (rank, "")
    return role != "worker", role, int(number or 0)
