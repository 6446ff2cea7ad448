"""Every role says what it does and what its variables are, and its README is made of that."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from harness.paths import ANSIBLE

ROLES = sorted(path.name for path in (ANSIBLE / "roles").iterdir() if path.is_dir())


def read(role: str, file: str) -> dict[str, Any]:
    path = ANSIBLE / "roles" / role / file
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}


def declared(role: str) -> dict[str, Any]:
    entries = read(role, "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}


def test_readmes_are_those_that_would_be_written() -> None:
    command = [sys.executable, str(ANSIBLE / "readmes.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_role_says_what_it_does(role: str) -> None:
    text = (ANSIBLE / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert [heading for heading in ("## Variables", "## Tags", "## Example") if heading not in text] == []
    assert [name for name in declared(role) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("role", ROLES)
def test_variable_has_type_meaning_and_its_default(role: str) -> None:
    options, defaults = declared(role), read(role, "defaults/main.yml")
    assert [name for name, option in options.items() if not option.get("type") or not option.get("description")] == []
    assert [name for name in defaults if name not in options] == []
    differing = {
        name: option["default"] for name, option in options.items() if name in defaults and "default" in option
    }
    assert differing == {name: defaults[name] for name in differing}
