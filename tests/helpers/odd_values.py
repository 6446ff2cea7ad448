"""For tests of readers of foreign input: values of all kinds, and documents of the right shape with something wrong."""

from __future__ import annotations

import copy
import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


def examples(usual: int) -> int:
    """How many examples of a property are tried: the usual number, unless HARNESS_PROPERTY_EXAMPLES says another for all."""
    return int(os.environ.get("HARNESS_PROPERTY_EXAMPLES", usual))


EXAMPLES = examples(40)
"""Of a property that takes milliseconds an example."""

_NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2**53,
    2**63,
    10**308,
    10**400,
    1.7e308,
    -1.7e308,
    5e-324,
    float("nan"),
    float("inf"),
    1e22,
]
_TEXTS = [
    "",
    " ",
    "a",
    "1",
    "-1",
    "nan",
    "1e400",
    "\0",
    "\udcff",
    "a\nb",
    "[/x]",
    "../x",
    "{{ x }}",
    "\N{SUPERSCRIPT TWO}",
    "x" * 300,
]

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.sampled_from(_NUMBERS) | st.sampled_from(_TEXTS) | st.integers(-5, 300) | st.floats()
    | st.text(max_size=8)
)  # fmt: skip

CELLS = st.sampled_from(
    ["", "x", "nan", "inf", "-1", "1e400", "1,5", "9" * 400, "0x1", "[/b]", "\0", "True", "1e308", "2.5", "9999-01-01"]
)
"""Of tables."""

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc") | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is in a document of dictionaries and lists: its keys and indices, outermost first."""
    if path:
        yield path
    if isinstance(document, dict):
        for key in document:
            yield from places(document[key], (*path, key))
    elif isinstance(document, list):
        for index in range(len(document)):
            yield from places(document[index], (*path, index))


@st.composite
def nearly(draw: st.DrawFn, document: Any) -> Any:
    """The document with up to three values replaced by others of any kind, or left out."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(changed))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        inner = changed
        for key in way:
            inner = inner[key]
        if draw(st.booleans()):
            inner[last] = draw(VALUES)
        else:
            del inner[last]
    return changed


def foreign(document: Any) -> st.SearchStrategy[Any]:
    """Nearly the document, or anything else."""
    return nearly(document) | nearly(document) | nearly(document) | VALUES


@contextmanager
def damaged(table: Path, changes: Sequence[tuple[int, int, str]], tail: bytes) -> Iterator[None]:
    """A CSV file with other cells (row, column, text) and something behind its end, for as long as it is entered."""
    before = table.read_bytes()
    rows = list(csv.reader(io.StringIO(before.decode())))
    for row, column, text in changes:
        rows[row % len(rows)][column % len(rows[0])] = text
    changed = io.StringIO()
    csv.writer(changed, lineterminator="\n").writerows(rows)
    table.write_bytes(changed.getvalue().encode() + tail)
    try:
        yield
    finally:
        table.write_bytes(before)
