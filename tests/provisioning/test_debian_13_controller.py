"""A fresh Debian 13 as controller: `make demo` from a copy of the project ends in a report, by a user who only has sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.paths import REPOSITORY
from harness.system.packages import MXNET_PACKAGES, own_architecture, read_packages
from harness.virtual.host import rootfs
from tests.conftest import require_virtual

pytestmark = [pytest.mark.virtual, pytest.mark.mxnet, pytest.mark.long, pytest.mark.timeout(1800)]
HOME = f"/home/{rootfs.USER}"
# The root file system is a node's: it has what the demo needs of the system.
NEEDED = ("python3-venv", *read_packages([MXNET_PACKAGES], own_architecture()))
FRESH = f"sudo apt-get purge -y -qq --autoremove {' '.join(NEEDED)} >/dev/null"
INSTALL = "sudo apt-get update -qq; sudo apt-get install -y -qq --no-install-recommends make >/dev/null"
# Where this machine's pip and certificates are not the system's own.
SETTINGS = [f"--setenv={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's directory on the controller, with what the project's repository holds in it."""
    require_virtual()
    home = tmp_path_factory.mktemp("controller")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (source := REPOSITORY / name).is_file():
            (target := home / "pi-harness" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    yield home
    shutil.rmtree(home)


def on_controller(home: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as the user, in the project's directory on a Debian 13 of which only `home` is kept."""
    owner = f"chown -R {rootfs.USER}: {HOME} && exec runuser -u {rootfs.USER} -- env HOME={HOME} bash -ec"
    command = [
        "systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--as-pid2", "--volatile=overlay",
        f"--directory={rootfs.ensure('trixie')}", f"--machine=controller{os.getpid()}", "--link-journal=no",
        "--resolv-conf=replace-host", "--timezone=off", "--console=pipe", "--suppress-sync=yes",
        "--bind-ro=/etc/ssl/certs/ca-certificates.crt", f"--bind={home}:{HOME}", *SETTINGS,
        "/bin/sh", "-c", f'{owner} "$0"', f"cd {HOME}/pi-harness; {script}",
    ]  # fmt: skip
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200, check=False, errors="replace"
    )


def test_the_demo_ends_in_a_report(home: Path) -> None:
    done = on_controller(home, f"{FRESH}; {INSTALL}; python3 --version; make demo")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.startswith("Python 3.13."), done.stdout
    assert f"installing Debian packages: {NEEDED[0]} " in done.stdout
    assert (home / "pi-harness" / "results" / "quickstart" / "latest" / "report.html").is_file()
