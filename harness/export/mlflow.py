"""MLflow: a store in a directory of its own, a database and the artifacts beside it."""

from __future__ import annotations

import shutil
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.export.contents import Contents
from harness.export.tracking import connected, record

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"


def write(run: Contents, directory: Path, final: Path) -> None:
    """Write the store into the directory, which then becomes `final`: artifacts are found there. Raises BadInputError."""
    root = (final / ARTIFACTS).as_uri()

    def keep(info: Any, file: Path) -> None:
        place = directory / ARTIFACTS / unquote(info.artifact_uri.removeprefix(root)).strip("/")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place / file.name)

    # The library makes a directory for artifacts of an experiment of its own where it stands.
    with chdir(directory), connected(f"sqlite:///{directory / DATABASE}") as client:
        record(client, client.create_experiment(run.experiment, artifact_location=root), run, keep, [])
    with suppress(OSError):
        (directory / "mlruns").rmdir()
