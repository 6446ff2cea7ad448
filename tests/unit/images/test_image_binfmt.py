"""The kernel is told to run arm64 programs where no systemd has told it; what cannot be told, or not by us, is named."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import BadInputError
from harness.images.base import binfmt

# A user namespace has formats of its own, since Linux 6.7: the machine's are not touched.
OWN = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec")


def inside(script: str) -> subprocess.CompletedProcess[str]:
    words = {"KERNEL": binfmt.KERNEL, "PYTHON": shlex.quote(sys.executable)}
    for name, value in words.items():
        script = script.replace(name, str(value))
    return subprocess.run([*OWN, script], input="{}", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("before", ["tmpfs", "binfmt_misc"])
def test_root_registers_what_debian_ships(before: str) -> None:
    if not binfmt.FORMAT.is_file():
        pytest.skip("qemu-user-static is not installed")
    if inside("mount -t binfmt_misc none KERNEL").returncode != 0:
        pytest.skip("this kernel has no binfmt_misc for user namespaces")
    done = inside(
        f"mount -t {before} none KERNEL; test ! -e KERNEL/qemu-aarch64; "
        "PYTHON -m harness.images allow-arm64; cat KERNEL/qemu-aarch64"
    )
    assert done.returncode == 0, done.stderr
    assert "enabled" in done.stdout
    (flags,) = re.findall("^flags: (.*)$", done.stdout, re.MULTILINE)
    assert "F" in flags  # the interpreter is opened once, for other root file systems too


@pytest.mark.parametrize(("user", "told"), [(0, "mount"), (1000, "root can tell it to")])
def test_what_is_to_be_done_as_root_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: int, told: str
) -> None:
    monkeypatch.setattr(binfmt, "require", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(binfmt, "KERNEL", tmp_path / "nothing")
    monkeypatch.setattr(binfmt, "FORMAT", tmp_path / "qemu-aarch64.conf")
    (tmp_path / "qemu-aarch64.conf").write_text("# of a package\n:qemu-aarch64:M::x:y:/z:PF\n", encoding="ascii")
    with pytest.raises(BadInputError, match="binfmt_misc has no qemu-aarch64") as caught:
        binfmt.require_foreign_binaries()
    assert told in caught.value.message
    assert f"cat {tmp_path}/qemu-aarch64.conf > {tmp_path}/nothing/register" in caught.value.remedy
