"""The filter plugins and modules of the Ansible roles, without Ansible."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import PurePath
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


def load_module(path: str) -> ModuleType:
    """A module of a role, which finds its role's utilities where Ansible would put them."""
    role = PurePath(path).parts[0]
    for utility in (ANSIBLE / "roles" / role / "module_utils").glob("*.py"):
        sys.modules[f"ansible.module_utils.{utility.stem}"] = load_plugin(f"{role}/module_utils/{utility.name}")
    return load_plugin(path)
