"""What the controller says of wheels that are absent or not what was pinned, and what the compatibility module puts back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.contract import wire
from harness.experiment.catalog import bundled_programs
from harness.paths import ANSIBLE

FILES = ANSIBLE / "roles" / "runtime" / "files"
WHEEL = "mxnet-1.9.1-py3-none-any.whl"


def build(cache: Path, wheel: dict[str, str]) -> subprocess.CompletedProcess[str]:
    request = {
        "id": "test", "cache": str(cache), "python": "3.11", "architecture": "x86_64", "wheels": [wheel], "files": str(FILES),
    }  # fmt: skip
    command = [sys.executable, str(FILES / "build_bundle.py")]
    return subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("content", [b"another wheel", None])
def test_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / WHEEL
    if content is not None:
        source.write_bytes(content)
    done = build(tmp_path / "cache", {"file": WHEEL, "sha256": "0" * 64, "source": str(source)})
    assert done.returncode != 0
    assert WHEEL in done.stderr
    assert "Try: " in done.stderr
    assert "SHA-256" in done.stderr if content else "cannot be read" in done.stderr
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))
    assert not (tmp_path / "cache" / "wheels" / WHEEL).exists()


def run_with_compatibility(directory: Path, program: str) -> str:
    """What a program prints, in an interpreter that has the compatibility module and a package called mxnet."""
    package = directory / "mxnet"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import numpy\nfrom distutils.version import LooseVersion\n"
        "nan, product = numpy.NaN, numpy.product\nnewer = LooseVersion('1.10.2') > LooseVersion('1.9')\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-W", "ignore", "-c", f"import _mxnet_compatibility\n{program}"]
    environment = {"PYTHONPATH": f"{FILES}:{directory}", "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout


def test_mxnet_finds_what_numpy_and_python_removed(tmp_path: Path) -> None:
    assert (
        run_with_compatibility(tmp_path, "import mxnet; print(mxnet.nan, mxnet.product([2, 3]), mxnet.newer)")
        == "nan 6 True\n"
    )


def test_others_see_numpy_as_it_is(tmp_path: Path) -> None:
    program = "import mxnet, numpy; print(hasattr(numpy, 'NaN'), hasattr(numpy, 'product'))"
    plain = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import numpy; print(hasattr(numpy, 'NaN'), hasattr(numpy, 'product'))"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert run_with_compatibility(tmp_path, program) == plain


def test_nothing_is_touched_before_mxnet(tmp_path: Path) -> None:
    assert (
        run_with_compatibility(tmp_path, "import sys; print('numpy' in sys.modules, 'distutils' in sys.modules)")
        == "False False\n"
    )


def verified(directory: Path, **modules: str) -> subprocess.CompletedProcess[str]:
    """Verify the runtime in a directory that has these modules in place of the runtime's."""
    python = os.environ.get("HARNESS_RUNTIME_PYTHON")
    if not python:
        pytest.skip("HARNESS_RUNTIME_PYTHON names no interpreter with MXNet")
    shutil.copy(FILES / "verify.py", directory)
    (directory / "bundle.json").write_text('{"wheels": {}}', encoding="utf-8")
    for name, text in modules.items():
        (directory / f"{name}.py").write_text(text, encoding="utf-8")
    return subprocess.run(
        [python, "verify.py", "any"], cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.mxnet
@pytest.mark.parametrize(("name", "module", "told"), [
    ("yaml", "raise ImportError('broken')", "PyYAML does not load: broken"),
    ("yaml", "__version__ = '0'\ndef safe_load(text):\n    return {}", "PyYAML reads a document wrong"),
    ("torch", "raise ImportError('broken')", "torch does not load: ImportError: broken"),
])  # fmt: skip
def test_runtime_with_a_module_that_fails_is_not_written_down_as_good(
    tmp_path: Path, name: str, module: str, told: str
) -> None:
    done = verified(tmp_path, **{name: module})
    assert done.returncode != 0
    assert told in done.stderr
    assert not (tmp_path / "runtime.json").exists()


@pytest.mark.mxnet
def test_what_programs_name_as_parts_of_the_runtime_is_written_down(tmp_path: Path) -> None:
    done = verified(tmp_path, torch="__version__ = '2.13.0+cpu'")
    assert done.returncode == 0, done.stderr
    state = json.loads((tmp_path / "runtime.json").read_text(encoding="utf-8"))
    assert state["torch"] == "2.13.0+cpu"
    needs = [
        need for program in bundled_programs() for need in program.runtime if program.runs_in == wire.RUNTIME_DIRECTORY
    ]
    assert {"mxnet", "torch"} <= {need.part for need in needs} <= state.keys()


def test_every_interpreter_gets_the_same_packages() -> None:
    lock = yaml.safe_load((FILES.parent / "vars" / "main.yml").read_text(encoding="utf-8"))["runtime_lock"]
    kinds = {(tag, machine) for tag in ("cp311", "cp312", "cp313") for machine in ("x86_64", "aarch64")}
    for package in ("numpy", "PyYAML"):
        rows = [row for row in lock if row["requirement"].startswith(f"{package}==")]
        assert {(row["tag"], row["architecture"]) for row in rows} == kinds
        assert all(row["tag"] in row["file"] and row["architecture"] in row["file"] for row in rows)


def test_looking_for_mxnet_leaves_its_import_as_it_is(tmp_path: Path) -> None:
    program = "import importlib.util; importlib.util.find_spec('mxnet'); import mxnet; print(mxnet.nan, mxnet.newer)"
    assert run_with_compatibility(tmp_path, program) == "nan True\n"
