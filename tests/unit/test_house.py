"""The shape of the house: imports point down, no folder is too full, and the harness knows no program."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.experiment.catalog import bundled_programs
from harness.paths import REPOSITORY

PACKAGES = (
    "contract", "system", "boards", "nodes", "experiment", "launch", "check", "results", "energy", "sweep", "analysis",
    "display", "report", "export", "predict", "live", "virtual", "advise", "images", "cli",
)  # fmt: skip
"""The lowest first: each imports only those before it, and the modules beside the packages."""

MOST_FILES = 12
MOST_LINES = 300

SOURCES = [path for part in ("harness", "experiments") for path in sorted((REPOSITORY / part).rglob("*.py"))]

ALLOWED = {
    # Columns and event keys of what was measured, whatever the program calls its parameter.
    "learning_rate": ["harness/contract/columns.py", "harness/contract/wire.py"],
    # A word of rates.csv.
    "batch_size": ["harness/sweep/benchmark.py"],
    # A word of the cost model: parts of a buffer.
    "shards": ["harness/predict/measurements.py"],
    # A key of netplan's routes.
    "via": ["harness/images/nodes/first_boot.py"],
    # A word of a virtual cluster's state: how a node's share of a core was found.
    "rule": ["harness/report/provenance.py"],
}
"""Names of parameters that are words of the harness's own too, and where."""

ORDINARY = {"dataset", "engine", "epochs", "limit", "model", "seed", "servers", "threshold", "validation", "wire"}
"""Names of parameters that are ordinary words, or keys of a description."""


def imports(path: Path) -> Iterator[str]:
    """The modules of the harness that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ([f"harness.{name.name}" for name in node.names] if node.module == "harness" else [node.module])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_one_above_it(package: str) -> None:
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    above = {
        (path.name, module)
        for path in (REPOSITORY / "harness" / package).rglob("*.py")
        for module in imports(path)
        if module.startswith("harness.") and module.split(".")[1] in PACKAGES and module.split(".")[1] not in allowed
    }
    assert not above


def test_every_package_has_its_place() -> None:
    found = {path.parent.name for path in (REPOSITORY / "harness").glob("*/__init__.py")}
    assert found == set(PACKAGES)


def test_no_folder_is_too_full() -> None:
    files = [path for part in ("harness", "experiments") for path in (REPOSITORY / part).rglob("*") if path.is_file()]
    counted = Counter(path.parent for path in files if "__pycache__" not in path.parts and path.suffix != ".pyc")
    assert {str(folder.relative_to(REPOSITORY)): count for folder, count in counted.items() if count > MOST_FILES} == {}


def test_no_two_test_modules_share_a_name() -> None:
    """pytest imports them by that name alone, and then refuses to collect any."""
    names = Counter(path.name for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_is_too_long() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {str(path.relative_to(REPOSITORY)): count for path, count in lines.items() if count > MOST_LINES} == {}


def test_the_harness_knows_no_parameter_of_any_program() -> None:
    programs = [program for program in bundled_programs() if program.parameters]
    names = {name for program in programs for name in program.parameters or {}}
    values = {str(c) for p in programs for each in (p.parameters or {}).values() for c in each.choices if "_" in str(c)}
    spelled = set()
    for path in (REPOSITORY / "harness").rglob("*.py"):
        where = path.relative_to(REPOSITORY).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in (names | values) - ORDINARY:
                spelled.add((str(node.value), where))
    assert spelled == {
        (name, where) for name, places in ALLOWED.items() for where in places if (name, where) in spelled
    }


def test_the_nodes_code_never_imports_the_harness() -> None:
    found = [(path.name, module) for path in (REPOSITORY / "experiments").rglob("*.py") for module in imports(path)]
    assert not [(name, module) for name, module in found if module.split(".")[0] == "harness"]


def test_the_harness_never_imports_an_engine() -> None:
    found = [(path.name, module) for path in (REPOSITORY / "harness").rglob("*.py") for module in imports(path)]
    assert not [(name, module) for name, module in found if module.split(".")[0] in ("mxnet", "torch")]


def test_no_bundled_engine_leaves_a_method_of_its_model_out() -> None:
    """A store may ask for any. Those that are not abstract no type checker misses, and PyTorch is not everywhere to be run."""
    folder = REPOSITORY / "experiments" / "training" / "engines"

    def methods(file: str, name: str) -> dict[str, ast.stmt]:
        """A class's, with the last statement of each."""
        (found,) = (
            node
            for node in ast.parse((folder / file).read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and node.name == name
        )
        return {each.name: each.body[-1] for each in found.body if isinstance(each, ast.FunctionDef)}

    optional = {name for name, last in methods("base.py", "Model").items() if isinstance(last, ast.Raise)}
    assert {"stage", "values", "hold"} <= optional
    for engine in ("mxnet", "torch"):
        own = methods(f"{engine}/model.py", f"{engine.capitalize()}Model")
        assert optional - own.keys() == set(), engine
