"""The filter plugins and modules of the Ansible roles, without Ansible."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from harness.paths import ANSIBLE


def load_plugin(path: str) -> ModuleType:
    """A Python file of the roles, by its path under ansible/roles."""
    file = ANSIBLE / "roles" / path
    spec = importlib.util.spec_from_file_location(f"ansible_plugin_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
