"""Finds the run directory that a user names, makes a new one, and says whether a harness writes there now."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import BadInputError
from harness.results.disk import write_json
from harness.results.run_paths import RunPaths


def open_run(path: Path) -> RunPaths:
    """The run directory that a user named: itself, `latest`, or an experiment's directory. Raises BadInputError."""
    for candidate in (path, path / "latest"):
        if (candidate / "manifest.json").is_file():
            return RunPaths(candidate.resolve())
    raise BadInputError(
        f"{path} is no run directory: it has no manifest.json", "name one, e.g. results/quickstart/latest"
    )


def newest_run(results: Path) -> RunPaths:
    """The run below a results directory that began last, of whatever experiment. Raises BadInputError where there is none."""
    manifests = [path for path in results.glob("*/*/manifest.json") if not path.parent.is_symlink()]
    if not manifests:
        raise BadInputError(f"there is no run in {results}", "begin one, e.g. harness sweep quickstart, or name a run")
    return RunPaths(max(manifests, key=lambda path: path.stat().st_mtime_ns).parent.resolve())


def run_paths(results: Path, experiment: str, moment: datetime) -> RunPaths:
    """Where a run that begins now will lie: `results/<experiment>/<name>/`; nothing is made yet.

    Its nodes know the run by this name, so it is this harness's alone.
    """
    return RunPaths(results / experiment / f"{moment.astimezone(UTC).strftime('%Y%m%dT%H%M%SZ')}-{os.getpid()}")


def make_run(paths: RunPaths, manifest: Mapping[str, Any]) -> None:
    """Make a run's directory with its manifest, and point `latest` beside it at it.

    Raises BadInputError where it cannot be made, ResultsError where its manifest cannot be written.
    """
    parent = paths.root.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        paths.root.mkdir()
        write_json(paths.manifest, manifest)
        link = parent / f".latest.{os.getpid()}"
        with suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(paths.root.name)
        link.replace(parent / "latest")
    except OSError as error:
        raise BadInputError(
            f"cannot write to the results directory {parent}: {error.strerror or error}", "name another with --results"
        ) from None


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


def refuse_unfinished(paths: RunPaths) -> None:
    """Raise BadInputError where a harness works on this run now: what is copied of it would be no whole run."""
    if is_being_written(paths):
        raise BadInputError(f"{paths.root} is still being written", "wait until its harness has ended")
