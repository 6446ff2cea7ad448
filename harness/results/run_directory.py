"""Writes a run directory: its tables, logs, checkpoints and records. One harness at a time.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from harness.contract.columns import DEFAULT_ACCURACIES, EPOCH_COLUMNS, RANK_COLUMNS, TELEMETRY_COLUMNS, trial_columns
from harness.contract.json_line import parse_json
from harness.errors import BadInputError
from harness.launch.checkpoints import Saved, read_saved, record_of
from harness.results.disk import Table, append, guard, remedy_of, write_atomically, write_json
from harness.results.opening import make_run
from harness.results.repair import checkpoint_rows, is_whole, kept_rows, oddity, rows_of
from harness.results.rows import Row
from harness.results.run_paths import How, RunPaths


@dataclass(frozen=True)
class TrialStart:
    """A trial's start, and what it goes on from."""

    attempts: int = 1
    recoveries: int = 0
    """Starts in place of the same attempts."""
    saved: Saved | None = None
    epochs: Sequence[Row] = ()
    """Rows of the epochs that are done, as epochs.csv has them."""
    telemetry: Sequence[Row] = ()


class RunDirectory:
    """Writes one run directory; one harness at a time."""

    def __init__(
        self,
        paths: RunPaths,
        parameters: Sequence[str],
        roles: Sequence[str] = ("worker",),
        accuracies: Sequence[float] = DEFAULT_ACCURACIES,
    ) -> None:
        """Open a run, and repair what a killed harness or a failing disk left of it.

        `parameters`, `roles` and `accuracies` have columns in trials.csv.

        Raises BadInputError where another harness writes it, where it cannot be written, or where a file in it is none that
        the harness wrote; then nothing was changed.
        """
        self.paths = paths
        self.repaired: list[str] = []
        """What was found torn, in words."""
        self._trials = Table(paths.trials, trial_columns(parameters, roles, accuracies))
        self._counted = {
            "epochs": Table(paths.epochs, EPOCH_COLUMNS),
            "ranks": Table(paths.ranks, RANK_COLUMNS),
            "telemetry": Table(paths.telemetry, TELEMETRY_COLUMNS),
        }
        """Files of which a trial's record says how many rows it has in them."""
        self._lock = _locked(paths)
        try:
            self._repair()
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def new(
        cls,
        paths: RunPaths,
        manifest: Mapping[str, Any],
        parameters: Sequence[str],
        roles: Sequence[str] = ("worker",),
        accuracies: Sequence[float] = DEFAULT_ACCURACIES,
    ) -> RunDirectory:
        """Make a run's directory with its manifest, and open it. Raises BadInputError where it cannot be made."""
        make_run(paths, manifest)
        return cls(paths, parameters, roles, accuracies)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write."""
        self._lock.truncate(0)
        self._lock.close()

    def finished(self) -> dict[str, str]:
        """The status of every trial that has a record."""
        return {trial: str(record["row"]["status"]) for trial, record in self._records().items()}

    def begin(self, trial: str, earlier: How | None = None, *, go_on: bool = False) -> TrialStart:
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
        return TrialStart(
            attempts=1 + self._earlier(trial, "attempt"),
            recoveries=self._earlier(trial, "recovery"),
            saved=saved,
            epochs=rows_of(trial, self._counted["epochs"].read()) if saved else (),
            telemetry=rows_of(trial, self._counted["telemetry"].read()) if saved else (),
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

    def file(self, trial: str, name: str, data: bytes) -> None:
        """Keep a file that a rank left; `name` is one that the program's description names."""
        write_atomically(self.paths.trial(trial) / name, data)

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
        """The records of finished trials by trial; a torn one is none: that trial is run again."""
        found = {}
        for path in sorted((self.paths.root / "trials").glob("*/trial.json")):
            trial = path.parent.name
            try:
                record = parse_json(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise BadInputError(f"cannot read {path}: {error.strerror or error}", "make it readable") from None
            except ValueError:
                continue
            if odd := oddity(record, trial, tuple(self._counted)):
                raise BadInputError(
                    f"{path} {odd}: the harness wrote no such record",
                    "put the file back as it was, or remove it: the trial is then run again",
                )
            found[trial] = record
        return found

    def _repair(self) -> None:
        records = self._records()
        torn = {path.parent.name for path in (self.paths.root / "trials").glob("*/trial.json")} - set(records)
        self.repaired += [f"trial {trial}: its record is torn, so it is run again" for trial in sorted(torn)]
        rows = {name: table.read() for name, table in self._counted.items()}
        counts = {name: Counter(row["trial"] for row in found) for name, found in rows.items()}
        for trial in [t for t, record in records.items() if not is_whole(record, t, counts)]:
            self.repaired.append(f"trial {trial}: rows of it are missing, so it is run again")
            del records[trial]
            with guard(self.paths.root):
                self.paths.trial_record(trial).unlink()
        order = sorted((record["row"] for record in records.values()), key=lambda row: str(row["started_at"]))
        self._trials.rewrite(order)
        unfinished = {str(row["trial"]) for found in rows.values() for row in found} - set(records)
        saved = {trial: self._saved(trial) for trial in unfinished}
        for name, table in self._counted.items():
            table.rewrite(kept_rows(rows[name], name, saved))

    def _saved(self, trial: str) -> Saved | None:
        """The trial's checkpoint where it is whole: its weights as they were, and every row that belongs to it."""
        try:
            record = parse_json(self.paths.checkpoint_record(trial).read_text(encoding="utf-8"))
            saved = read_saved(record, lambda name: (self.paths.checkpoint(trial) / name).read_bytes())
            rows = {
                name: len(checkpoint_rows(rows_of(trial, table.read()), name, saved))
                for name, table in self._counted.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return saved if all(count == saved.rows.get(name, 0) for name, count in rows.items()) else None

    def _cut_back(self, trials: Mapping[str, Saved | None]) -> None:
        """Drop all rows of these trials but those that belong to the checkpoint that each goes on from."""
        for name, table in {"trials": self._trials, **self._counted}.items():
            rows = table.read()
            kept = kept_rows(rows, name, trials)
            if len(kept) != len(rows):
                table.rewrite(kept)


def _locked(paths: RunPaths) -> IO[str]:
    """The run's lock, taken. Raises BadInputError where another process has it, or where nothing can be written here."""
    try:
        lock = paths.lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot write to {paths.root}: {error.strerror or error}", remedy_of(error)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise BadInputError(f"{paths.root} is being written by {holder}", "wait for it, or stop it") from None
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock
