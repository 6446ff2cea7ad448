"""Inventories shaped as those of real Pi clusters: whom Ansible reaches, the harness reaches, and nobody else.

Real SSH servers, in namespaces of the test's own: see tests/helpers/inventory_rig.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cluster_inventories import CASES

from harness.paths import ANSIBLE_CONFIGURATION, REPOSITORY
from harness.virtual.host import rootfs

HELPERS = Path(__file__).parents[1] / "helpers"
ADDRESSES = {
    "aliases of ~/.ssh/config": {"rack-a": ["192.168.1.12", "ubuntu", 2222], "rack-b": ["192.168.1.11", "pi", 22]},
    "a bastion in ~/.ssh/config": {"behind": ["192.168.1.14", "pi", 22]},
    "names in .local": {"a": ["192.168.1.13", "pi", 22]},
    "a head board that is controller and node": {"head": ["192.168.1.2", None, 22], "pi01": ["192.168.1.10", "pi", 22]},
    "an ansible.cfg of the project": {"192.168.1.10": ["192.168.1.10", "ubuntu", 22]},
}
"""Where hosts are, as whom, and at which port, in inventories that do not say it themselves."""


def ssh_server() -> str | None:
    """This machine's SSH server, or that of a virtual node's file system; of the same Debian, it runs here too."""
    own = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if own is None and shutil.which("mmdebstrap"):
        rootfs.ensure(rootfs.SUITES[0])  # the virtual cluster's tests need it too
    kept = rootfs.place(rootfs.SUITES[0]) / "usr/sbin/sshd"
    return own or (str(kept) if kept.is_file() and _runs(kept) else None)


def _runs(sshd: Path) -> bool:
    libraries = ":".join(str(each.parent) for each in sshd.parents[2].glob("usr/lib/*/libwrap.so.0"))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    return b"OpenSSH" in subprocess.run([sshd, "-V"], capture_output=True, env=environment, check=False).stderr


@pytest.fixture(scope="module")
def answers() -> Any:
    if os.geteuid() != 0:
        pytest.skip("needs root: addresses and users of the test's own")
    sshd = ssh_server()
    if sshd is None:
        pytest.skip("there is no SSH server: apt install openssh-server, or harness cluster up once")
    # The users of the test must be able to read below it, which pytest's own directories do not allow.
    with tempfile.TemporaryDirectory(prefix="inventories-") as scratch:
        Path(scratch).chmod(0o755)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(ANSIBLE_CONFIGURATION),
            "PYTHONPATH": f"{REPOSITORY}:{HELPERS}",
        }
        own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        rig = [sys.executable, str(HELPERS / "inventory_rig.py"), scratch, sshd]
        done = subprocess.run([*own, *rig], capture_output=True, text=True, env=environment, timeout=580, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        yield json.loads(done.stdout)


def test_there_are_two_dozen() -> None:
    assert len(CASES) >= 24


@pytest.mark.parametrize("name", CASES)
def test_ansible_and_harness_agree(answers: Any, name: str) -> None:
    of_ansible, of_harness = answers[name]["ansible"], answers[name]["harness"]
    reached = {host: of_harness.get(host) is True for host in of_ansible}
    assert reached == of_ansible, of_harness
    assert set(of_ansible.values()) == {CASES[name].reachable}
    for host, place in ADDRESSES.get(name, {}).items():
        assert of_harness[f"{host} is"] == place


def test_what_is_refused_is_told(answers: Any) -> None:
    assert "not in" in answers["a host key that nobody knows"]["harness"]["a"]
    assert "login as keys was refused" in answers["a key that does not fit"]["harness"]["a"]
    wrong = answers["a wrong password"]["harness"]["pi01"]
    assert "login as admin was refused: Authentication failed" in wrong
    assert "banana" not in wrong
