"""What the ranks of a run printed, read while it is written or later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from harness.errors import BadInputError
from harness.results.opening import is_being_written
from harness.results.run_paths import RunPaths


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
