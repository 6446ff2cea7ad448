"""The wheel in an empty environment and an empty directory: it has everything that a checkout has, and the demo runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli.verbs import VERBS
from harness.launch.code import packaged_code
from harness.paths import REPOSITORY, cache_directory

pytestmark = [pytest.mark.slow]
SHARED = ("ansible", "ansible.cfg", "experiments", "inventory")


def run(*command: str | Path, cwd: Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "ANSIBLE_", "PYTHON"))
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Installed:
    """A wheel, and an environment that it is installed in and nothing else."""

    wheel: Path
    binaries: Path

    def harness(
        self, *arguments: str | Path, cwd: Path, timeout: float = 300, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run(self.binaries / "harness", *arguments, cwd=cwd, timeout=timeout, **(environment or {}))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("wheel")
    venv.create(directory / "environment", with_pip=True)
    pip = [directory / "environment" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
    built = run(*pip, "wheel", "--no-deps", "-w", directory, REPOSITORY, cwd=directory)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = directory.glob("*.whl")
    done = run(*pip, "install", "-c", REPOSITORY / ".ci" / "constraints.txt", wheel, cwd=directory, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return Installed(wheel, directory / "environment" / "bin")


def test_it_has_every_file_that_is_kept_and_no_other(installed: Installed) -> None:
    listed = run("git", "ls-files", *SHARED, cwd=REPOSITORY)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    kept = {name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        prefix = "harness/share/"
        packed = {name.removeprefix(prefix): name for name in wheel.namelist() if name.startswith(prefix)}
        assert set(packed) == kept
        assert all(wheel.read(packed[name]) == (REPOSITORY / name).read_bytes() for name in kept)
        assert "harness/py.typed" in wheel.namelist()


def test_the_nodes_get_the_same_code_as_from_a_checkout(installed: Installed, tmp_path: Path) -> None:
    script = "import harness.paths, harness.launch.code as c; print(harness.paths.REPOSITORY, c.packaged_code().hash)"
    done = run(installed.binaries / "python", "-c", script, cwd=tmp_path)
    assert done.stdout.split() == ["None", packaged_code().hash], done.stderr


def test_every_verb_is_there(installed: Installed, tmp_path: Path) -> None:
    helped = [installed.harness(verb, "--help", cwd=tmp_path) for verb in VERBS]
    assert [done.returncode for done in helped] == [0] * len(VERBS)
    assert list(tmp_path.iterdir()) == []


def test_experiments_programs_and_inventories_have_names(installed: Installed, tmp_path: Path) -> None:
    plan = installed.harness("plan", "quickstart", "-i", "pi.example", "--json", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert [trial["trial"] for trial in json.loads(plan.stdout)] == ["n01-r1", "n02-r1", "n03-r1"]
    listed = installed.harness("programs", "--json", cwd=tmp_path)
    assert "train" in json.loads(listed.stdout)
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_and_a_program_of_one_s_own_lie_in_the_working_directory(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "work.py").write_text("print('work')\n", encoding="utf-8")
    (tmp_path / "own.yaml").write_text("name: own\nprogram: work.py\naxes: {nodes: 2}\n", encoding="utf-8")
    plan = installed.harness("plan", "own", "-i", "local", "--json", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)[0]["ranks"] == {"local-1": ["worker0"], "local-2": ["worker1"]}


@pytest.mark.mxnet
def test_the_demo_runs_in_an_empty_directory(installed: Installed, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    # Wheels that were downloaded before are taken from the cache; everything else is new.
    environment = {"HOME": str(home), "HARNESS_CACHE_DIR": str(cache_directory())}
    done = installed.harness("demo", "--quiet", cwd=work, timeout=900, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    run_directory = work / "results" / "quickstart" / "latest"
    manifest = json.loads((run_directory / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["git"] is None
    assert (run_directory / "report.html").is_file()
    assert (home / ".local" / "share" / "harness" / "runtime").is_dir()
    again = installed.harness("report", "results/quickstart/latest", "--target", "50%", cwd=work)
    assert "s to 50.0%" in again.stdout, again.stdout + again.stderr
    checked = installed.harness("check", "-i", "local", "-n", "2", "--json", cwd=work, environment=environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert {finding["node"] for finding in json.loads(checked.stdout)} == {"local-1", "local-2"}
    assert str(sys.prefix) not in done.stderr
