"""The run directory: its paths, its manifest, its CSVs. The only module that knows file names.

A row, once the trial's `trial.json` is there, is safe: `trial.json` is written last and atomically, and says how many rows
the trial has in the other files. A run that is opened again keeps exactly the rows of the trials that have one and are whole;
what a killed harness wrote of an unfinished trial is dropped, and a trial whose rows a failing disk lost is run again.

An unfinished trial that has a checkpoint keeps the rows that belong to it, no more: `checkpoint.json`, too, is written last
and atomically, and says how many those are.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness.checkpoints import Saved, read_saved, record_of
from harness.columns import EPOCH_COLUMNS, RANK_COLUMNS, TELEMETRY_COLUMNS, trial_columns
from harness.disk import Table, append, guard, write_atomically, write_json
from harness.errors import BadInputError
from harness.rows import Row

How = Literal["attempt", "recovery"]
"""As what an earlier start of a trial's ranks is kept."""


@dataclass(frozen=True)
class Begun:
    """A trial's start, and what it goes on from."""

    attempts: int = 1
    recoveries: int = 0
    """Starts in place of the same attempts."""
    saved: Saved | None = None
    epochs: Sequence[Row] = ()
    """Rows of the epochs that are done, as epochs.csv has them."""
    telemetry: Sequence[Row] = ()


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

    def start(self, trial: str, how: How, number: int) -> Path:
        """What a start of the ranks that was not the last one left: of an attempt, or of a recovery in place."""
        return self.trial(trial) / f"{how}{number}"

    def checkpoint(self, trial: str) -> Path:
        """What an unfinished trial can go on from: checkpoint.json, and the weights it names."""
        return self.trial(trial) / "checkpoint"

    def checkpoint_record(self, trial: str) -> Path:
        """The record that makes a checkpoint one."""
        return self.checkpoint(trial) / "checkpoint.json"

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
        self._trials = Table(paths.trials, trial_columns(parameters))
        self._counted = {
            "epochs": Table(paths.epochs, EPOCH_COLUMNS),
            "ranks": Table(paths.ranks, RANK_COLUMNS),
            "telemetry": Table(paths.telemetry, TELEMETRY_COLUMNS),
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

    def begin(self, trial: str, earlier: How | None = None, *, go_on: bool = False) -> Begun:
        """Start a trial, or start it again: the files of the start before are then kept as what `earlier` says.

        With `go_on` it goes on from its checkpoint if it has one that is whole; all other rows of it go.
        """
        directory = self.paths.trial(trial)
        saved = self._saved(trial) if go_on else None
        with guard(directory):
            self.paths.trial_record(trial).unlink(missing_ok=True)
        self._cut_back({trial: saved})
        with guard(directory):
            if saved is None:  # or an earlier attempt's weights would pass for those of rows that this one writes
                for old in (self.paths.checkpoint(trial), *([directory] if earlier is None else [])):
                    if old.exists():
                        shutil.rmtree(old)
            directory.mkdir(parents=True, exist_ok=True)
            self._set_aside(trial, earlier)
        return Begun(
            attempts=1 + self._earlier(trial, "attempt"),
            recoveries=self._earlier(trial, "recovery"),
            saved=saved,
            epochs=_of(trial, self._counted["epochs"].read()) if saved else (),
            telemetry=_of(trial, self._counted["telemetry"].read()) if saved else (),
        )

    def _earlier(self, trial: str, how: How) -> int:
        """How many starts of a kind are kept."""
        return len(list(self.paths.trial(trial).glob(f"{how}*")))

    def _set_aside(self, trial: str, earlier: How | None) -> None:
        """Move the files of the start before out of the way, also where a killed harness left some or had begun to."""
        how = earlier or "attempt"
        directory = self.paths.trial(trial)
        moving = directory / ".moving"
        files = [path for path in directory.iterdir() if path.is_file()]
        if earlier or files or moving.exists():
            moving.mkdir(exist_ok=True)
            for path in files:
                path.replace(moving / path.name)
            moving.rename(self.paths.start(trial, how, 1 + self._earlier(trial, how)))

    def keep(self, trial: str, saved: Saved) -> None:
        """Make a checkpoint what the trial goes on from: the rows reach the disk first, then the weights, then its record."""
        for table in self._counted.values():
            table.sync()
        directory = self.paths.checkpoint(trial)
        with guard(directory):
            directory.mkdir(exist_ok=True)
        for name, data in saved.files.items():
            write_atomically(directory / name, data)
        write_json(self.paths.checkpoint_record(trial), record_of(saved))
        with guard(directory):
            for path in directory.glob("*.npz"):
                if path.name not in saved.files:
                    path.unlink()

    def log(self, trial: str, rank: str, data: bytes) -> None:
        """Append to a rank's log."""
        append(self.paths.rank_log(trial, rank), data)

    def event(self, trial: str, record: Mapping[str, Any]) -> None:
        """Append to a trial's raw events."""
        append(self.paths.trial_events(trial), json.dumps(record).encode() + b"\n")

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
        if row["status"] != "failed":
            shutil.rmtree(self.paths.checkpoint(trial), ignore_errors=True)
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
        unfinished = {str(row["trial"]) for found in rows.values() for row in found} - set(records)
        saved = {trial: self._saved(trial) for trial in unfinished}
        for name, table in self._counted.items():
            table.rewrite(_kept(rows[name], name, saved))

    def _saved(self, trial: str) -> Saved | None:
        """The trial's checkpoint where it is whole: its weights as they were, and every row that belongs to it."""
        try:
            record = json.loads(self.paths.checkpoint_record(trial).read_text(encoding="utf-8"))
            saved = read_saved(record, lambda name: (self.paths.checkpoint(trial) / name).read_bytes())
            rows = {name: len(_cut(_of(trial, table.read()), name, saved)) for name, table in self._counted.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return saved if all(count == saved.rows.get(name, 0) for name, count in rows.items()) else None

    def _cut_back(self, trials: Mapping[str, Saved | None]) -> None:
        """Drop all rows of these trials but those that belong to the checkpoint that each goes on from."""
        for name, table in {"trials": self._trials, **self._counted}.items():
            rows = table.read()
            kept = _kept(rows, name, trials)
            if len(kept) != len(rows):
                table.rewrite(kept)


def _of(trial: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["trial"] == trial]


def _kept(rows: Sequence[Row], name: str, trials: Mapping[str, Saved | None]) -> list[Row]:
    """The rows of a file without those of `trials` that belong to no checkpoint, in their order."""
    kept = [row for row in rows if row["trial"] not in trials]
    for trial, saved in trials.items():
        kept += _cut(_of(trial, rows), name, saved) if saved and name != "trials" else []
    return kept


def _cut(rows: Sequence[Row], name: str, saved: Saved) -> list[Row]:
    """The rows of one trial that belong to its checkpoint."""
    if name == "epochs":
        return [row for row in rows if float(str(row["epoch"])) <= saved.checkpoint.epoch]
    return list(rows[: saved.rows.get(name, 0)])


def _is_whole(record: Mapping[str, Any], trial: str, counts: Mapping[str, Mapping[Any, int]]) -> bool:
    """Whether the files hold every row that a finished trial wrote to them."""
    return all(counts[name].get(trial, 0) == count for name, count in record.get("rows", {}).items())
