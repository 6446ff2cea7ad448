"""Ansible's commands: which ones are run, with which configuration, and how a playbook is run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import BadInputError
from harness.paths import ANSIBLE_CONFIGURATION, PLAYBOOKS

END_SECONDS = 20.0


def ansible_environment() -> dict[str, str]:
    """The environment for Ansible's commands, whatever the working directory.

    The configuration is the harness's own unless `ANSIBLE_CONFIG` names another. Commands of the Python environment that the
    harness is installed in come first on the path. Ansible refuses to run where the user's locale is not installed, or is
    none of UTF-8; so it has one that every system has.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {"ANSIBLE_CONFIG": str(ANSIBLE_CONFIGURATION), **os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def run_playbook(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], prefix: Sequence[str] = ()
) -> int:
    """Run a playbook of the harness with its output on this terminal; `prefix` is a command that runs another.

    Returns the exit code of ansible-playbook. Raises BadInputError where there is no such playbook.
    """
    playbook = PLAYBOOKS / f"{name}.yml"
    if not playbook.is_file():
        known = ", ".join(sorted(path.stem for path in PLAYBOOKS.glob("*.yml")))
        raise BadInputError(f"there is no playbook {name}", f"one of: {known}")
    command = [*prefix, "ansible-playbook", *arguments, str(playbook)]
    try:
        with subprocess.Popen(command, env={**ansible_environment(), **environment}) as process:
            try:
                return process.wait()
            except BaseException:
                _end(process)
                raise
    except FileNotFoundError:
        raise BadInputError("ansible-playbook is not installed", "pip install ansible-core") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Ansible, which a Ctrl-C has reached too: it stops its own processes first."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
