"""Fixtures for all tests: a virtual cluster that the playbooks have provisioned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.paths import ANSIBLE, REPOSITORY
from harness.virtual import cgroup, requirements
from harness.virtual.blueprint import Wishes
from harness.virtual.down import down
from harness.virtual.state import places_of
from harness.virtual.up import up

PROVISIONED_NODES = 3
PROVISIONED_SUBNET = "10.79.0.0/24"
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
    playbook: str, inventory: Path, *arguments: str, cluster: str | None = None, environment: Mapping[str, str] | None = None
) -> Played:
    """Run a playbook of ansible/playbooks, inside the network of virtual cluster `cluster` if one is named."""
    command = [str(BINARIES / "ansible-playbook"), "-i", str(inventory), str(ANSIBLE / "playbooks" / playbook), *arguments]
    if cluster:
        command = [sys.executable, "-m", "harness.cli", "cluster", "exec", "--name", cluster, "--", *command]
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
            [sys.executable, "-m", "harness.cli", "cluster", "exec", "--name", self.name, "--", *command],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def on(self, node: str, script: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a node, as root."""
        ansible = str(BINARIES / "ansible")
        return self.run(
            ansible, "-i", str(self.inventory), node, "--become", "-m", "ansible.builtin.shell", "-a", script, timeout=timeout
        )


def virtual_obstacle() -> str | None:
    """Why this machine cannot have a virtual cluster; None where it can."""
    try:
        requirements.require_all()
        cgroup.find_hierarchies()
    except HarnessError as error:
        return f"{error.message} ({error.remedy})"
    return None


@pytest.fixture(scope="session")
def provisioned_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionedCluster]:
    """Three nodes at full speed: site.yml rehearsed with --check, run, and run again. HARNESS_MNIST_DIR is used if it is set.

    HARNESS_STATE_DIR points to the cluster's state while the tests run. The cluster is always removed.
    """
    if (reason := virtual_obstacle()) is not None:
        pytest.skip(reason)
    name = f"p{os.getpid():x}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STATE_DIR", str(tmp_path_factory.mktemp("virtual")))
        try:
            up(name, Wishes(nodes=PROVISIONED_NODES, profile="none", subnet=PROVISIONED_SUBNET))
            inventory = places_of(name).inventory
            rehearsal = play("site.yml", inventory, "--check", cluster=name)
            first = play("site.yml", inventory, cluster=name)
            second = play("site.yml", inventory, cluster=name)
            nodes = tuple(sorted(second.recap))
            yield ProvisionedCluster(name, inventory, nodes, rehearsal, first, second)
        finally:
            down(name)
