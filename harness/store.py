"""The run directory: its paths, its manifest, its CSVs. The only module that knows file names.

A row, once the trial's `trial.json` is there, is safe: `trial.json` is written last and atomically, and says how many rows
the trial has in the other files. A run that is opened again keeps exactly the rows of the trials that have one and are whole;
what a killed harness wrote of an unfinished trial is dropped, and a trial whose rows a failing disk lost is run again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from harness.errors import BadInputError, HarnessError
from harness.rows import EPOCH_COLUMNS, RANK_COLUMNS, TELEMETRY_COLUMNS, Row, trial_columns


class StoreError(HarnessError):
    """The run directory cannot be written; what was written before is safe."""

    exit_code = 1


@dataclass(frozen=True)
class RunPaths:
    """Every path of a run directory."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What was asked, on what, with which versions."""
        return self.root / "manifest.json"

    @property
    def trials(self) -> Path:
        """One row a trial."""
        return self.root / "trials.csv"

    @property
    def epochs(self) -> Path:
        """One row a trial, rank and epoch."""
        return self.root / "epochs.csv"

    @property
    def ranks(self) -> Path:
        """One row a trial and rank."""
        return self.root / "ranks.csv"

    @property
    def telemetry(self) -> Path:
        """One row a node and sample."""
        return self.root / "telemetry.csv"

    @property
    def rates(self) -> Path:
        """A benchmark's: how fast each node trains."""
        return self.root / "rates.csv"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        """The figures' directory."""
        return self.root / "figures"

    @property
    def lock(self) -> Path:
        """Held by the harness that writes here."""
        return self.root / ".lock"

    def trial(self, trial: str) -> Path:
        """One trial's directory."""
        return self.root / "trials" / trial

    def attempt(self, trial: str, attempt: int) -> Path:
        """What an attempt that was not the last one left."""
        return self.trial(trial) / f"attempt{attempt}"

    def trial_record(self, trial: str) -> Path:
        """The record that makes a trial finished."""
        return self.trial(trial) / "trial.json"

    def trial_events(self, trial: str) -> Path:
        """A trial's raw events, one JSON object a line, with rank and time."""
        return self.trial(trial) / "events.jsonl"

    def rank_log(self, trial: str, rank: str) -> Path:
        """A rank's output as it was."""
        return self.trial(trial) / f"{rank}.log"


def open_run(path: Path) -> RunPaths:
    """The run directory that a user named: itself, `latest`, or an experiment's directory. Raises BadInputError."""
    for candidate in (path, path / "latest"):
        if (candidate / "manifest.json").is_file():
            return RunPaths(candidate.resolve())
    raise BadInputError(
        f"{path} is no run directory: it has no manifest.json", "name one, e.g. results/quickstart/latest"
    )


def run_name(moment: datetime) -> str:
    """The name of a run that begins now; its nodes know it by this, so it is this harness's alone."""
    return f"{moment.astimezone(UTC).strftime('%Y%m%dT%H%M%SZ')}-{os.getpid()}"


def new_run(results: Path, experiment: str, name: str) -> RunPaths:
    """Make `results/<experiment>/<name>/` and point `latest` at it. Raises BadInputError where it cannot be written."""
    parent = results / experiment
    try:
        parent.mkdir(parents=True, exist_ok=True)
        root = parent / name
        root.mkdir()
        link = parent / f".latest.{os.getpid()}"
        with suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(root.name)
        link.replace(parent / "latest")
    except OSError as error:
        raise BadInputError(
            f"cannot write to the results directory {parent}: {error.strerror or error}", "name another with --results"
        ) from None
    return RunPaths(root)


def follow_log(
    paths: RunPaths, trial: str | None, rank: str, follow: bool, pause: Callable[[float], None]
) -> Iterator[bytes]:
    """What a rank printed, in pieces; with `follow`, on and on until its trial has a record or its writer is gone.

    Raises BadInputError where there is no such trial or rank.
    """
    directories = [path for path in (paths.root / "trials").glob("*") if path.is_dir()]
    names = sorted(path.name for path in directories)
    trial = trial or max(directories, key=lambda path: path.stat().st_mtime, default=Path()).name
    if trial not in names:
        raise BadInputError(f"{paths.root} has no trial {trial or ''}", f"one of {', '.join(names) or 'none yet'}")
    log = paths.rank_log(trial, rank)
    offset = 0
    while True:
        over = not follow or paths.trial_record(trial).exists() or not is_being_written(paths)
        with suppress(FileNotFoundError), log.open("rb") as file:
            file.seek(offset)
            while data := file.read(1 << 18):
                offset += len(data)
                yield data
        if over:
            break
        pause(0.2)
    if not log.exists():
        ranks = sorted(path.stem for path in paths.trial(trial).glob("*.log"))
        raise BadInputError(f"trial {trial} has no log of {rank}", f"one of {', '.join(ranks) or 'none yet'}")


def is_being_written(paths: RunPaths) -> bool:
    """Whether a harness works on this run now."""
    try:
        with paths.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class RunStore:
    """Writes one run directory; one harness at a time."""

    def __init__(self, paths: RunPaths, parameters: Sequence[str]) -> None:
        self.paths = paths
        self._lock = paths.lock.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            raise BadInputError(f"{paths.root} is being written by {holder}", "wait for it, or stop it") from None
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()}")
        self._lock.flush()
        self._trials = _Table(paths.trials, trial_columns(parameters))
        self._counted = {
            "epochs": _Table(paths.epochs, EPOCH_COLUMNS),
            "ranks": _Table(paths.ranks, RANK_COLUMNS),
            "telemetry": _Table(paths.telemetry, TELEMETRY_COLUMNS),
        }
        """Files of which a trial's record says how many rows it has in them."""
        self._repair()

    def close(self) -> None:
        """Let others write."""
        self._lock.truncate(0)
        self._lock.close()

    def finished(self) -> dict[str, str]:
        """The status of every trial that has a record."""
        return {trial: str(record["row"]["status"]) for trial, record in self._records().items()}

    def begin(self, trial: str, attempt: int = 1) -> None:
        """Start a trial's (next) attempt: its rows go, and the logs of the attempt before move to `attempt<number>/`."""
        directory = self.paths.trial(trial)
        self._discard({trial})
        with _guard(directory):
            if attempt == 1 and directory.exists():
                shutil.rmtree(directory)
            directory.mkdir(parents=True, exist_ok=True)
            files = [path for path in directory.iterdir() if path.is_file()]
            if attempt > 1:
                self.paths.attempt(trial, attempt - 1).mkdir()
            for path in files:
                path.replace(self.paths.attempt(trial, attempt - 1) / path.name)

    def log(self, trial: str, rank: str, data: bytes) -> None:
        """Append to a rank's log."""
        _append(self.paths.rank_log(trial, rank), data)

    def event(self, trial: str, record: Mapping[str, Any]) -> None:
        """Append to a trial's raw events."""
        _append(self.paths.trial_events(trial), json.dumps(record).encode() + b"\n")

    def epoch(self, row: Row) -> None:
        """Append a row to epochs.csv."""
        self._counted["epochs"].append(row)

    def rank(self, row: Row) -> None:
        """Append a row to ranks.csv."""
        self._counted["ranks"].append(row)

    def telemetry(self, row: Row) -> None:
        """Append a row to telemetry.csv."""
        self._counted["telemetry"].append(row)

    def finish(self, trial: str, row: Row, detail: Mapping[str, Any]) -> None:
        """Make a trial finished: its rows reach the disk first, then its record, then its row of trials.csv."""
        rows = {}
        for name, table in self._counted.items():
            table.sync()
            rows[name] = sum(each["trial"] == trial for each in table.read())
        write_json(self.paths.trial_record(trial), {"row": row, "rows": rows, **detail})
        self._trials.append(row)
        self._trials.sync()

    def _records(self) -> dict[str, dict[str, Any]]:
        found = {}
        for path in sorted((self.paths.root / "trials").glob("*/trial.json")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(path.read_text(encoding="utf-8"))
                if record["row"]["trial"] == path.parent.name and record["row"]["started_at"]:
                    found[path.parent.name] = record
        return found

    def _repair(self) -> None:
        records = self._records()
        rows = {name: table.read() for name, table in self._counted.items()}
        counts = {name: Counter(row["trial"] for row in found) for name, found in rows.items()}
        for trial in [t for t, record in records.items() if not _is_whole(record, t, counts)]:
            del records[trial]
            self.paths.trial_record(trial).unlink()
        order = sorted((record["row"] for record in records.values()), key=lambda row: str(row["started_at"]))
        self._trials.rewrite(order)
        for name, table in self._counted.items():
            table.rewrite(row for row in rows[name] if row["trial"] in records)

    def _discard(self, trials: set[str]) -> None:
        for trial in trials:
            with suppress(FileNotFoundError):
                self.paths.trial_record(trial).unlink()
        for table in (self._trials, *self._counted.values()):
            rows = table.read()
            kept = [row for row in rows if row["trial"] not in trials]
            if len(kept) != len(rows):
                table.rewrite(kept)


def _is_whole(record: Mapping[str, Any], trial: str, counts: Mapping[str, Mapping[Any, int]]) -> bool:
    """Whether the files hold every row that a finished trial wrote to them."""
    return all(counts[name].get(trial, 0) == count for name, count in record.get("rows", {}).items())


class _Table:
    """A CSV with fixed columns, appended row by row."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns

    def read(self) -> list[Row]:
        """All whole rows."""
        return read_rows(self._path)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the file at once."""
        buffer = io.StringIO()
        buffer.write(self._format(dict(zip(self._columns, self._columns, strict=True))))
        for row in rows:
            buffer.write(self._format(row))
        write_atomically(self._path, buffer.getvalue().encode())

    def append(self, row: Row) -> None:
        """Add a row with one write."""
        _append(self._path, self._format(row).encode())

    def sync(self) -> None:
        """Wait until what was appended is on the disk."""
        with _guard(self._path), self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _format(self, row: Mapping[str, Any]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow([_cell(row.get(column)) for column in self._columns])
        return buffer.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    # A line break inside a cell would make a torn row look whole.
    return " ".join(value.split()) if isinstance(value, str) else value


def read_rows(path: Path) -> list[Row]:
    """All whole rows of a CSV, every cell as its text; a torn last one is none."""
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        rows = csv.DictReader(io.StringIO(whole))
        return [cast(Row, row) for row in rows if None not in row and None not in row.values()]
    return []


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file at once. Raises StoreError."""
    write_atomically(path, json.dumps(value, indent=2, default=str).encode() + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, also after a crash, sees the old content or the new. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _guard(path):
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _append(path: Path, data: bytes) -> None:
    with _guard(path), path.open("ab", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(28, "No space left on device")


class _guard:  # noqa: N801 - reads as a statement
    """Turns what the file system says into a StoreError that names the path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"cannot write {self._path}: {error.strerror or error}",
                "free some space, then run the same sweep with --resume: finished trials are safe",
            ) from error
