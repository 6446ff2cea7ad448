"""Running the playbooks from tests, and a virtual cluster on which they have run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.paths import ANSIBLE, REPOSITORY

PLAYBOOK_SECONDS = 1500
BINARIES = Path(sys.executable).parent
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d+\s.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """What a run of ansible-playbook said."""

    returncode: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """By host: ok, changed, unreachable, failed ..."""
        return {
            host: {key: int(value) for key, value in (word.split("=") for word in counts.split())}
            for host, counts in _RECAP.findall(self.output)
        }

    def total(self, key: str) -> int:
        """One count, summed over the hosts."""
        return sum(counts[key] for counts in self.recap.values())


def play(
    playbook: str,
    inventory: Path,
    *arguments: str,
    cluster: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Played:
    """Run a playbook of ansible/playbooks, inside the network of virtual cluster `cluster` if one is named."""
    command = [
        str(BINARIES / "ansible-playbook"),
        "-i",
        str(inventory),
        str(ANSIBLE / "playbooks" / playbook),
        *arguments,
    ]
    if cluster:
        command = [sys.executable, "-m", "harness", "cluster", "exec", "--name", cluster, "--", *command]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PLAYBOOK_SECONDS,
        check=False,
    )
    return Played(done.returncode, done.stdout)


@dataclass(frozen=True)
class DaskProvisioned:
    """A node root on this machine in which site.yml has put Dask's environment, twice."""

    root: Path
    rehearsal: Played
    rehearsal_made_nothing: bool
    first: Played
    second: Played


@dataclass(frozen=True)
class ProvisionedCluster:
    """A virtual cluster on which site.yml has run twice."""

    name: str
    inventory: Path
    nodes: tuple[str, ...]
    rehearsal: Played
    first: Played
    second: Played

    def play(self, playbook: str, *arguments: str) -> Played:
        """Run a playbook against this cluster."""
        return play(playbook, self.inventory, *arguments, cluster=self.name)

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command of the controller inside the cluster's network; its output is captured."""
        return subprocess.run(
            [sys.executable, "-m", "harness", "cluster", "exec", "--name", self.name, "--", *command],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def on(self, node: str, script: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a node, as root."""
        ansible = str(BINARIES / "ansible")
        return self.run(
            ansible,
            "-i",
            str(self.inventory),
            node,
            "--become",
            "-m",
            "ansible.builtin.shell",
            "-a",
            script,
            timeout=timeout,
        )
