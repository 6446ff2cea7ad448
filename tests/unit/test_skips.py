"""Tests that cannot run say why, and what `make test` installs must work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.paths import REPOSITORY

SUITE = """\
import os, sys
import pytest
import conftest
import training_job

conftest.virtual_obstacle = lambda: "no cgroups"

def test_runtime(): training_job.runtime_python()
def test_virtual(): conftest.require_virtual()
def test_nothing(): pass
"""


def run(directory: Path, *options: str, **environment: str) -> str:
    """The closing line of a small suite under the conftest of all tests, and all that it said."""
    tests = REPOSITORY / "tests"
    (directory / "conftest.py").write_text((tests / "conftest.py").read_text(encoding="utf-8"))
    (directory / "test_small.py").write_text(SUITE)
    path = os.pathsep.join(map(str, [directory, tests, tests / "helpers", tests / "integration", REPOSITORY]))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HARNESS_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *options, str(directory)],
        env={**inherited, "PYTHONPATH": path, **environment}, cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"{done.stdout}{done.stderr}exit status {done.returncode}"


def test_a_runtime_that_does_not_work_fails_the_suite(tmp_path: Path) -> None:
    said = run(tmp_path, "-k", "runtime", HARNESS_RUNTIME_PYTHON=sys.executable)
    assert "has no MXNet with DIST_KVSTORE" in said
    assert said.endswith("exit status 1")
    assert run(tmp_path, "-k", "runtime").endswith("exit status 0")


@pytest.mark.skipif(os.geteuid() != 0, reason="of root alone virtual clusters are expected")
def test_root_without_virtual_clusters_fails_the_suite_unless_it_says_so(tmp_path: Path) -> None:
    said = run(tmp_path, "-k", "virtual")
    assert "no virtual clusters: no cgroups" in said
    assert said.endswith("exit status 1")
    assert run(tmp_path, "-k", "virtual", HARNESS_NO_VIRTUAL="1").endswith("exit status 0")


def test_a_skip_for_another_reason_than_those_allowed_fails_the_suite(tmp_path: Path) -> None:
    allowed = tmp_path / "skips"
    allowed.write_text("# why\n\nno cgroups\nHARNESS_RUNTIME_PYTHON names no\n")
    assert run(tmp_path, f"--allowed-skips={allowed}", HARNESS_NO_VIRTUAL="1").endswith("exit status 0")
    allowed.write_text("# no cgroups\n\nHARNESS_RUNTIME_PYTHON names no\n")
    said = run(tmp_path, f"--allowed-skips={allowed}", HARNESS_NO_VIRTUAL="1")
    assert "does not allow: no cgroups" in said
    assert said.endswith("exit status 1")


def test_ci_says_which_reasons_it_allows_and_they_are_no_excuse_for_what_it_installs() -> None:
    assert "--allowed-skips=.ci/skips" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    allowed = tuple(
        line for line in (REPOSITORY / ".ci" / "skips").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"
    )
    for reason in (
        "HARNESS_RUNTIME_PYTHON names no interpreter with MXNet",
        "not installed: qemu",
        "needs fakeroot",
        "x",
    ):
        assert not reason.startswith(allowed)
