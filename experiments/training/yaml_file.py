"""YAML and JSON files beside the programs: read once, with errors that name the file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from .errors import ProgramError

EXPERIMENTS = Path(__file__).resolve().parent.parent
"""What is sent to a node: the programs, this package and `data/`."""

DATA = EXPERIMENTS / "data"


@cache
def read_mapping(path: Path) -> dict[str, Any]:
    """The file's top-level mapping. Raises ProgramError where there is none."""
    if path.suffix == ".json":
        return _mapping(path, _json(path))
    try:
        import yaml
    except ImportError:
        raise ProgramError("this node's runtime has no PyYAML", "provision the nodes again (site.yml)") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is many times faster, where it was built
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError) as error:
        raise _unreadable(path, error) from None
    return _mapping(path, content)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _mapping(path: Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ProgramError(f"{path} holds no mapping", "mend the file")
    return content


def _unreadable(path: Path, error: Exception) -> ProgramError:
    return ProgramError(f"{path} cannot be read: {error}", "send the experiments again, or mend the file")
