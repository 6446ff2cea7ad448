"""Tables of a run that other programs have saved: read as they were, or refused by name; never fewer trials without a word."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from report_runs import trial, write_run

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.load import load_run
from harness.errors import BadInputError
from harness.paths import REPOSITORY
from harness.results.run_paths import RunPaths

TABLES = ("trials", "epochs", "telemetry")
Rows = list[list[str]]


def run(root: Path) -> RunPaths:
    return write_run(root, *[trial(nodes, repeat) for nodes in (1, 2, 4) for repeat in (1, 2)])


def words(notes: tuple[str, ...]) -> list[list[str]]:
    return [sorted(re.findall(r"[\w-]+", note)) for note in notes]


def analysed(paths: RunPaths) -> Analysis:
    found = load_run(paths)
    return analyse(found.trials, found.epochs, found.telemetry, found.manifest, notes=found.notes)


def change(paths: RunPaths, table: str, by: Callable[[Rows], object], **how: str) -> None:
    """Save a table again with other rows (header first), separator (`delimiter`) or encoding."""
    path: Path = getattr(paths, table)
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    by(rows)
    text = io.StringIO()
    csv.writer(text, delimiter=how.get("delimiter", ","), lineterminator=how.get("end", "\n")).writerows(rows)
    path.write_bytes(text.getvalue().encode(how.get("encoding", "utf-8")))


def commas(rows: Rows) -> None:
    rows[1:] = [
        [cell.replace(".", ",") if cell.replace(".", "", 1).isdigit() else cell for cell in row] for row in rows[1:]
    ]


def shuffled(rows: Rows) -> None:
    body = rows[1:]
    random.Random(1).shuffle(body)  # noqa: S311
    rows[1:] = body


def columns_turned(rows: Rows) -> None:
    rows[:] = [row[::-1] for row in rows]


def index_column(rows: Rows) -> None:
    rows[:] = [[str(number - 1) if number else "", *row] for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("by", "how"),
    [
        (len, {"encoding": "utf-8-sig"}),
        (len, {"encoding": "utf-16"}),
        (len, {"end": "\r\n"}),
        (len, {"end": "\r\n", "encoding": "utf-8-sig"}),
        (len, {"delimiter": ";"}),
        (len, {"delimiter": "\t", "encoding": "utf-16"}),
        (commas, {"delimiter": ";", "encoding": "utf-8-sig"}),
        (shuffled, {}),
        (columns_turned, {}),
        (index_column, {}),
        (lambda rows: rows.append([""] * len(rows[0])), {}),
    ],
)
def test_what_a_spreadsheet_saves_is_read_as_it_was(
    tmp_path: Path, by: Callable[[Rows], object], how: dict[str, str]
) -> None:
    paths = run(tmp_path)
    before = analysed(paths)
    for table in TABLES:
        change(paths, table, by, **how)
    after = analysed(paths)
    assert words(after.notes) == words(before.notes)
    pd.testing.assert_frame_equal(after.points, before.points)
    pd.testing.assert_frame_equal(after.epochs, before.epochs)
    assert len(after.trials) == len(before.trials) == 6


def dropped(name: str) -> Callable[[Rows], object]:
    def by(rows: Rows) -> None:
        place = rows[0].index(name)
        rows[:] = [row[:place] + row[place + 1 :] for row in rows]

    return by


def renamed(name: str, new: str) -> Callable[[Rows], object]:
    def by(rows: Rows) -> None:
        rows[0][rows[0].index(name)] = new

    return by


def cell(name: str, text: str, row: int = 2) -> Callable[[Rows], object]:
    def by(rows: Rows) -> None:
        rows[row][rows[0].index(name)] = text

    return by


@pytest.mark.parametrize(
    ("table", "by", "says"),
    [
        ("trials", dropped("trial"), "trials.csv: it has no column trial"),
        ("trials", dropped("status"), "it has no column status"),
        ("trials", renamed("nodes", "Nodes"), "it has no column nodes"),
        ("trials", renamed("repeat", "nodes"), "it has a column nodes twice"),
        ("epochs", dropped("rank"), "epochs.csv: it has no column rank"),
        ("epochs", renamed("train_seconds", "train (s)"), "it has no column train_seconds"),
        ("epochs", renamed("wait_seconds", "Wait"), "it has a column 'Wait' that no run has, but no"),
        ("telemetry", renamed("cpu_percent", "cpu"), "telemetry.csv: it has a column 'cpu' that no run has"),
        ("trials", cell("nodes", ""), "column nodes is empty in row 2"),
        ("trials", cell("total_seconds", "1,5"), "column total_seconds has '1,5', which is no number"),
        ("trials", cell("nodes", "four"), "column nodes has 'four', which is no number"),
        ("epochs", cell("epoch", "#REF!"), "column epoch has '#REF!', which is no number"),
        ("epochs", cell("validation_accuracy", "98 %"), "column validation_accuracy has '98 %'"),
    ],
)
def test_a_table_that_cannot_be_read_right_is_refused_with_the_columns_name(
    tmp_path: Path, table: str, by: Callable[[Rows], object], says: str
) -> None:
    paths = run(tmp_path)
    change(paths, table, by)
    with pytest.raises(BadInputError) as refused:
        analysed(paths)
    assert says in refused.value.message
    assert "as the harness wrote it" in refused.value.remedy


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    paths = run(tmp_path)
    change(paths, "epochs", cell("node", "K\N{LATIN SMALL LETTER U WITH DIAERESIS}che", 3), encoding="latin-1")
    with pytest.raises(BadInputError, match=r"epochs\.csv: line 4 is not UTF-8"):
        analysed(paths)


def test_what_a_crash_left_is_no_other_encoding(tmp_path: Path) -> None:
    paths = run(tmp_path)
    data = paths.epochs.read_bytes()
    lines = data.split(b"\n")
    lines[3] = lines[3][:20] + b"\xff\xfe"
    paths.epochs.write_bytes(b"\n".join(lines))
    assert "1 damaged line(s) of epochs.csv are left out." in analysed(paths).notes


def test_rows_that_somebody_deleted_are_missed(tmp_path: Path) -> None:
    paths = run(tmp_path)

    def by(rows: Rows) -> None:
        del rows[3]

    change(paths, "trials", by)
    assert any("but no result: left out" in note for note in analysed(paths).notes)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs" / "results").glob("*/*/trials.csv")), ids=str)
def test_published_runs_are_read_without_a_note_of_damage(path: Path) -> None:
    notes = load_run(RunPaths(path.parent)).notes
    assert not [note for note in notes if "damaged" in note or "cut off" in note]
