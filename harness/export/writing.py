"""How an export is written: whole or not at all, and never over anything else."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

from harness import __version__
from harness.errors import BadInputError
from harness.export.contents import Contents
from harness.export.formats import Format, require
from harness.results.opening import refuse_unfinished
from harness.results.run_paths import RunPaths
from harness.system.files import whole_directory

MARK = ".harness-export.json"
"""The file that says that a directory is an export; only such ones are ever replaced."""


def export(run: Contents, to: Format, target: Path, *, force: bool = False) -> None:
    """Write a run as the directory `target`.

    With `force` an export that is there is replaced. Raises BadInputError where the format's library is not installed, a
    harness still writes the run, something is there, or the directory cannot be written.
    """
    require(to)
    refuse_unfinished(run.paths)
    target = target.absolute()
    _refuse_place(run.paths, target, force=force)
    try:
        with whole_directory(target, replace=force) as directory:
            import_module(f"harness.export.{to}").write(run, directory, target)
            mark = {"format": to, "run": run.name, "harness": __version__}
            (directory / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot write {target}: {error.strerror or error}", "name another with --output") from None


def _refuse_place(paths: RunPaths, target: Path, *, force: bool) -> None:
    """Raise BadInputError where an export to `target` would change the run, or anything that is no export."""
    real = target.resolve()
    if real.is_relative_to(paths.root):
        raise BadInputError(f"{target} lies within the run itself", "name another with --output")
    if not os.path.lexists(target):
        return
    if not force:
        raise BadInputError(f"{target} is there already", "name another with --output, or replace it with --force")
    if target.is_symlink() or not (target / MARK).is_file() or paths.root.is_relative_to(real):
        raise BadInputError(
            f"{target} is no export of this harness, and --force replaces nothing else", "name another with --output"
        )
