"""The formats that a run can be exported to, and what each needs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec

from harness.errors import BadInputError


class Format(StrEnum):
    """A format: a module beside this one, and an optional part of pyproject.toml."""

    PARQUET = "parquet"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    CRATE = "crate"


NEEDS: Mapping[Format, Mapping[str, str]] = {
    Format.PARQUET: {"pyarrow": "pyarrow>=17"},
    Format.MLFLOW: {"mlflow": "mlflow-skinny>=3.1", "sqlalchemy": "sqlalchemy>=2", "alembic": "alembic>=1.13"},
    Format.TENSORBOARD: {"tensorboardX": "tensorboardX>=2.6.2"},
    Format.CRATE: {"rocrate": "rocrate>=0.14"},
}
"""By format the modules that are imported, each with the requirement that brings it; a test holds them to pyproject.toml."""


def require(to: Format) -> None:
    """Raise BadInputError, with the command that installs it, where a library that a format needs is not here."""
    missing = [requirement for module, requirement in NEEDS[to].items() if not _is_installed(module)]
    if missing:
        names = ", ".join(requirement.partition(">")[0] for requirement in missing)
        raise BadInputError(
            f"not installed: {names}, which --to {to} needs",
            shlex.join([sys.executable, "-m", "pip", "install", *missing]),
        )


def _is_installed(module: str) -> bool:
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a directory that happens to have that name has none
