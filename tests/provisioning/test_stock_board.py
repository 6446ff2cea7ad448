"""A stock board's whole walk, as docs/how-to/stock-boards.md has it: described, provisioned, swept; nothing is done before.

Virtual nodes stand for boards: sudo that asks for a password, apt held by a first boot, names that are all alike, a login shell
that prints, on Debian 13 also Raspberry Pi OS's avahi-daemon. What they cannot have is a clock of their own: a wrong one is in
test_first_boot.py.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require_virtual

from harness.paths import REPOSITORY
from harness.virtual import ssh
from harness.virtual.blueprint import ClusterRequest
from harness.virtual.down import down
from harness.virtual.host import rootfs
from harness.virtual.host.names import nodes_of
from harness.virtual.site import Site
from harness.virtual.state import places_of
from harness.virtual.up import up

pytestmark = [pytest.mark.virtual, pytest.mark.long, pytest.mark.timeout(900)]

NAME = f"s{os.getpid():x}"
SUBNET = "10.85.0.0/24"
NODES = 2
PASSWORD = "a stock $password"  # noqa: S105 - of nodes of the test's own
HELD_SECONDS = 60
LIMIT_SECONDS = 400
STOCK = f"""
set -e
sed -i '1i echo "Welcome to your board, $USER"' ~/.bashrc
echo raspberrypi | sudo tee /etc/hostname > /dev/null
sudo hostname raspberrypi
test ! -d /var/tmp/avahi || sudo dpkg --install /var/tmp/avahi/*.deb > /dev/null
sudo systemctl unmask --quiet apt-daily.timer apt-daily-upgrade.timer
sudo systemctl enable --now --quiet apt-daily.timer apt-daily-upgrade.timer
sudo systemd-run --quiet --unit=first-boot python3 -c '
import fcntl, time
with open("/var/lib/dpkg/lock-frontend", "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    time.sleep({HELD_SECONDS})'
echo 'pi:{PASSWORD}' | sudo chpasswd
echo 'pi ALL=(ALL) ALL' | sudo tee /etc/sudoers.d/pi > /dev/null
"""


@pytest.fixture(params=rootfs.SUITES)
def suite(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The Debian release of stock boards that run."""
    require_virtual()
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "state"))
    try:
        up(NAME, ClusterRequest(nodes=NODES, profile="none", subnet=SUBNET, suite=request.param))
        nodes = nodes_of(NAME, NODES, SUBNET)
        if request.param == "trixie":
            packages = avahi(request.param, tmp_path / "avahi")
            for node in nodes:
                shutil.copytree(packages, Site.of(NAME).machine(node).root / "var/tmp/avahi")
        for node in nodes:
            made = inside(*ssh.arguments(places_of(NAME), node, ["bash", "-s"]), typed=STOCK)
            assert made.returncode == 0, made.stdout + made.stderr
            held = inside(*ssh.arguments(places_of(NAME), node, ["systemctl", "is-active", "first-boot"]))
            assert held.stdout.splitlines()[-1:] == ["active"]
            asks = inside(*ssh.arguments(places_of(NAME), node, ["sudo", "-n", "true"]))
            assert (asks.returncode, "Welcome" in asks.stdout) == (1, True)
        yield request.param
    finally:
        down(NAME)


def avahi(suite: str, directory: Path) -> Path:
    """A directory with the packages that avahi-daemon needs on a node of this release; the nodes have no way to a mirror."""
    directory.mkdir()
    command = [
        "systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--as-pid2", "--volatile=overlay",
        f"--directory={rootfs.ensure(suite)}", f"--machine={NAME}-apt", "--link-journal=no", "--resolv-conf=replace-host",
        "--timezone=off", "--console=pipe", "--bind-ro=/etc/ssl/certs/ca-certificates.crt", f"--bind={directory}:/mnt",
        "/bin/sh", "-ec",
        "apt-get update -qq; apt-get install -qq --no-install-recommends --download-only avahi-daemon >/dev/null;"
        "cp /var/cache/apt/archives/*.deb /mnt",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def inside(*command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """A command on the boards' network, as on a controller there."""
    words = [sys.executable, "-m", "harness", "cluster", "exec", "--name", NAME, "--", *command]
    return subprocess.run(
        words, input=typed, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
        start_new_session=True,
    )  # fmt: skip


def test_a_stock_board_comes_to_a_finished_sweep(suite: str, tmp_path: Path) -> None:
    inventory, results = str(tmp_path / "mine"), tmp_path / "results"

    def harness(*words: str, typed: str = "") -> str:
        done = inside(sys.executable, "-m", "harness", *words, typed=typed)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    find = ["--find", SUBNET, *(["--mdns"] if suite == "trixie" else [])]
    said = harness("init", inventory, *find, "--identity", str(places_of(NAME).key), "--user", "pi", "--yes")
    assert f"{NODES} boards in {inventory}" in said
    # avahi gives the second of two boards with one name a name of its own
    assert ("raspberrypi-2, an SSH server" in said) == (suite == "trixie")
    harness("provision", "-i", inventory, "-K", typed=f"{PASSWORD}\n")
    harness("sweep", "quickstart", "--nodes", "1-2", "-i", inventory, "-K", "-o", str(results), typed=f"{PASSWORD}\n")
    run = results / "quickstart" / "latest"
    with (run / "trials.csv").open(encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    assert {(row["nodes"], row["status"]) for row in trials} == {("1", "ok"), ("2", "ok")}
    assert (run / "report.html").exists()
