"""What a demo needs of the system: `make demo` installs it, `harness demo` names what is missing, each by the architecture."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from harness.cli.running import demo
from harness.errors import BadInputError
from harness.paths import REPOSITORY
from harness.system.packages import MXNET_PACKAGES, own_architecture, read_packages

NEEDED = {
    "amd64": {"libgomp1", "libgfortran5", "libquadmath0"},
    "arm64": {"libgomp1", "libgfortran5", "libopenblas0-pthread", "liblapacke"},
}


@pytest.mark.skipif(shutil.which("make") is None, reason="not installed: make")
@pytest.mark.parametrize("architecture", NEEDED)
def test_make_installs_the_libraries_of_the_architecture(architecture: str) -> None:
    assert set(read_packages([MXNET_PACKAGES], architecture)) == NEEDED[architecture]
    command = ["make", "--dry-run", "demo-packages", f"ARCHITECTURE={architecture}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    (packages,) = re.findall(r"for package in ([^;]*);", done.stdout)
    assert set(packages.split()) == {"python3-venv", *NEEDED[architecture]}


@pytest.mark.parametrize("architecture", NEEDED)
def test_what_is_missing_is_named_with_its_packages(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "own_architecture", lambda: architecture)
    monkeypatch.setattr(demo, "_is_there", lambda library: library == "libgomp.so.1")
    with pytest.raises(BadInputError, match=r"MXNet needs libgfortran\.so\.5, ") as refused:
        demo.require_libraries()
    packages = sorted(NEEDED[architecture] - {"libgomp1"})
    assert refused.value.remedy == f"as root: apt-get install {' '.join(packages)}"


def test_an_architecture_has_debians_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel, debian in (("aarch64", "arm64"), ("x86_64", "amd64"), ("riscv64", "riscv64")):
        monkeypatch.setattr("os.uname", lambda machine=kernel: type("Uname", (), {"machine": machine}))
        assert own_architecture() == debian
