"""scikit-learn's estimators by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import yaml
from training.errors import ProgramError


def new_estimator(path: str, settings: str) -> Any:
    """Any estimator by its import path, with settings as YAML. Raises ProgramError where there is none, or it takes no such."""
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ProgramError(f"there is no estimator {path}", "give an import path, such as sklearn.svm.SVC") from None
    try:
        return kind(**mapping(settings))
    except TypeError as error:
        raise ProgramError(f"{name} takes no such settings: {error}", "see its documentation") from None


def mapping(text: str) -> Mapping[str, Any]:
    """A text of YAML that is a mapping. Raises ProgramError."""
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, Mapping):
        raise ProgramError(f"{text!r} is no mapping", "write it as YAML: {name: value}")
    return found
