"""YAML as its users mean it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInputError, HarnessError
from harness.experiment.yaml_file import line_of, read_mapping, read_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64), ("0.05", 0.05), ("1e-3", 0.001), ("5E2", 500.0), (".5", 0.5), ("-3", -3), ("010", 10), ("true", True),
        ("False", False), ("null", None), ("~", None), ("", None), ("on", "on"), ("no", "no"), ("1:30", "1:30"),
        ("2bit", "2bit"), ("2026-11-26", "2026-11-26"), ("a: b", "a: b"), ("[1", "[1"), ("0x10", "0x10"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    found = read_scalar(text)
    assert found == value
    assert type(found) is type(value)


@given(st.text())
def test_any_text_is_a_scalar(text: str) -> None:
    assert isinstance(read_scalar(text), bool | int | float | str | None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"f\.yaml:5: key 'c' is there twice, first on line 3"),
        ("a: 1\na: 2\n", r"f\.yaml:2: key 'a' is there twice, first on line 1"),
        ("a: [1\n", r"f\.yaml:2 is not YAML"),
        ("- 1\n", "is a mapping of keys"),
        ("a: &x [*x]\nb: *y\n", "is not YAML"),
        ("[" * 5000, "is not YAML: nested too deeply"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=says):
        read_mapping(path, "a thing")


def test_every_key_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: 1\non:\n  c: {d: 1}\n", encoding="utf-8")
    document, lines = read_mapping(path, "a thing")
    assert document == {"a": 1, "on": {"c": {"d": 1}}}
    assert (line_of(lines, ("on", "c", "d")), line_of(lines, ("on", "x")), line_of(lines, ("z",))) == (3, 2, None)


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "f.yaml"
    path.write_bytes(data)
    with suppress(HarnessError):
        read_mapping(path, "a thing")
