"""Docstrings of public functions over arrays and frames say shape or columns, dtype, unit and errors, in a fixed place.

`Args:` has an entry for every array, frame or series, `Returns:` says what comes back where that is one, and `Raises:` names
every error that the function raises itself. A method that a base class declares is described there. Widen it by naming more
packages in PACKAGES.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from harness.paths import REPOSITORY

PACKAGES = (
    "harness/analysis",
    "harness/contract",
    "harness/predict",
    "harness/advise",
    "harness/report",
    "harness/display",
    "harness/export",
    "experiments/training",
)

_ALIASES = "Array|Bytes|Flat|Floats|Halves|Indices|Vector|Weights"
_ARRAY = re.compile(rf"\b(pd\.DataFrame|pd\.Series|NDArray|np\.ndarray|{_ALIASES})\b")
_SHAPE = re.compile(r"\bcolumns?\b|\bby trial\b|\(\w+,\)|\(\w+(, \w+)+\)|\b\w+ x \w+|\ba row of|as `[\w.]+` gives")
_DTYPE = re.compile(r"float64|float32|int64|uint8|uint16|bool\b|\btext\b|dtypes?\b|object")
_UNIT = re.compile(r"(?<!')\b(s|ms|bytes|images|counts?|fractions?|seconds|units?)\b|°C|%")
_SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)


@dataclass(frozen=True)
class Function:
    """A public function or method: where it is, and its syntax tree."""

    place: str
    node: ast.FunctionDef

    def arrays(self) -> list[str]:
        """The parameters that are arrays, frames or series."""
        arguments = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        return [each.arg for each in arguments if each.annotation and _is_array(each.annotation)]

    def returns_array(self) -> bool:
        return self.node.returns is not None and _is_array(self.node.returns)

    def raised(self) -> set[str]:
        """Names of the errors that its body raises."""
        raises = [each.exc for each in ast.walk(self.node) if isinstance(each, ast.Raise)]
        return {each.func.id for each in raises if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)}


def _is_array(annotation: ast.expr) -> bool:
    return bool(_ARRAY.search(ast.unparse(annotation)))


@cache
def declared_in_classes(package: str) -> dict[str, set[str]]:
    """The names of a package's classes, each with the methods that it defines or inherits from others of them."""
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in (REPOSITORY / package).rglob("*.py")]
    classes = {each.name: each for tree in trees for each in tree.body if isinstance(each, ast.ClassDef)}

    def methods(name: str) -> set[str]:
        if name not in classes:
            return set()
        own = {each.name for each in classes[name].body if isinstance(each, ast.FunctionDef)}
        return own.union(*(methods(base) for base in bases(classes[name])))

    return {name: methods(name) for name in classes}


def bases(node: ast.ClassDef) -> list[str]:
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def public_functions(source: Path, package: str) -> Iterator[Function]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef) and not each.name.startswith("_")]
    for holder in (tree, *classes):
        above = bases(holder) if isinstance(holder, ast.ClassDef) else []
        inherited = {name for base in above for name in declared_in_classes(package).get(base, ())}
        for node in holder.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in inherited:
                yield Function(f"{source.relative_to(REPOSITORY)}:{node.lineno} {node.name}", node)


def sections(docstring: str) -> dict[str, str]:
    pieces = _SECTION.split(docstring)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def entry(section: str, name: str) -> str:
    """What a section says of a name, up to the next entry of the same indent."""
    match = re.search(rf"^ {{4}}{re.escape(name)}: (.*(?:\n {{5,}}.*)*)", section, re.MULTILINE)
    return match[1] if match else ""


def faults(function: Function) -> list[str]:
    if not function.arrays() and not function.returns_array():
        return []
    said = sections(ast.get_docstring(function.node) or "")
    arguments = {name: entry(said.get("Args", ""), name) for name in function.arrays()}
    wanted = {f"Args: {name}": what for name, what in arguments.items()}
    if function.returns_array():
        wanted["Returns"] = said.get("Returns", "")
    found = [
        f"{function.place}: {where} lacks {what}"
        for where, words in wanted.items()
        for what, pattern in (("a shape or columns", _SHAPE), ("a dtype", _DTYPE), ("a unit", _UNIT))
        if not pattern.search(words)
    ]
    missing = [name for name in function.raised() if not entry(said.get("Raises", ""), name)]
    return found + [f"{function.place}: Raises lacks {name}" for name in missing]


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_over_arrays_say_shape_dtype_unit_and_errors(package: str) -> None:
    sources = sorted((REPOSITORY / package).rglob("*.py"))
    assert sources
    assert [
        fault for source in sources for function in public_functions(source, package) for fault in faults(function)
    ] == []


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    code = '''
def half(values: Array, factor: float) -> Array:
    """Half of it.

    Args:
        values: (n,) float64, in s.
        factor: what for.

    Returns:
        (n,) float64, in s.

    Raises:
        ValueError: for nothing.
    """
    raise ValueError("x")
'''
    node = ast.parse(code).body[0]
    assert isinstance(node, ast.FunctionDef)
    assert faults(Function("here", node)) == []
    for lost, fault in (
        ("(n,) float64, in s.\n        factor", "Args: values lacks a shape or columns"),
        ("        ValueError: for nothing.\n", "Raises lacks ValueError"),
    ):
        broken = ast.parse(code.replace(lost, "x\n        factor" if "factor" in lost else "")).body[0]
        assert isinstance(broken, ast.FunctionDef)
        assert any(fault in each for each in faults(Function("here", broken)))
