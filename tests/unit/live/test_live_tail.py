"""Files that grow, are replaced, are cut and go away: each line is given once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.live import tail
from harness.live.tail import Ends, Rows, Tail
from harness.results.disk import Table


def lines_of(one: Tail) -> list[str | None]:
    """What is new: lines, and None where all before counts no more."""
    found: list[str | None] = []
    for piece in one.read():
        found += [None] if piece is None else piece
    return found


def test_only_what_was_added_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one = Tail(path)
    assert lines_of(one) == []
    path.write_text("a\nb\nto", encoding="utf-8")
    assert lines_of(one) == ["a", "b"]
    assert lines_of(one) == []
    with path.open("a", encoding="utf-8") as file:
        file.write("rn\nc\x85d\n")
    assert lines_of(one) == ["torn", "c\x85d"]
    assert one._offset == path.stat().st_size


def test_a_file_is_read_in_pieces_and_a_line_without_end_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_PIECE", 8)
    path = tmp_path / "log"
    path.write_bytes(b"12\n34\n567\n" + b"x" * 20 + b"\nend\n")
    found = lines_of(Tail(path))
    assert found[:3] == ["12", "34", "567"]
    assert found[-1] == "end"


@pytest.mark.parametrize("rest", ["", "a\n", "a\nB\nc\nd\ne\n", "a\nB\nc\n"])
def test_a_file_that_was_replaced_is_read_again(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb\nc\n", encoding="utf-8")
    one = Tail(path)
    assert lines_of(one) == ["a", "b", "c"]
    other = tmp_path / "other"
    other.write_text(rest, encoding="utf-8")
    other.replace(path)
    assert lines_of(one) == [None, *rest.splitlines()]


def test_a_file_that_goes_away_counts_no_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\n", encoding="utf-8")
    one = Tail(path)
    assert lines_of(one) == ["a"]
    path.unlink()
    assert (lines_of(one), lines_of(one)) == ([None], [])
    path.write_text("b\n", encoding="utf-8")
    assert lines_of(one) == ["b"]


def test_rows_are_those_that_the_harness_wrote(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv", ["trial", "why"])
    rows = Rows(tmp_path / "t.csv")
    table.rewrite([])
    assert list(rows.read()) == []
    table.append({"trial": "a", "why": 'said "no", twice'})
    assert list(rows.read()) == [{"trial": "a", "why": 'said "no", twice'}]
    with (tmp_path / "t.csv").open("a", encoding="utf-8") as file:
        file.write("damaged\n\nb,late\n")
    assert list(rows.read()) == [{"trial": "b", "why": "late"}]
    table.rewrite([{"trial": "b", "why": "late"}])
    assert list(rows.read()) == [None, {"trial": "b", "why": "late"}]


def test_of_a_log_only_its_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "worker0.log"
    ends = Ends(lines=3, characters=10)
    path.write_text("", encoding="utf-8")
    assert ends.of(path) == [""]
    path.write_text("".join(f"line {n}\n" for n in range(1000)) + "no end", encoding="utf-8")
    assert ends.of(path) == ["line 998", "line 999", "no end"]
    path.write_text(f"{'a' * 14}\n" * 9, encoding="utf-8")
    assert ends.of(path) == ["a" * 10 + "..."]  # not the one that was not read from its beginning
    path.write_text("10%\r20%\r30%\r\n" + "x" * 15 + "\n", encoding="utf-8")
    assert ends.of(path) == ["30%", "x" * 10 + "..."]
    ends.keep(set())
    path.unlink()
    with pytest.raises(FileNotFoundError):
        ends.of(path)
