"""The list of mutations fits the code, and what its runner counts is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.paths import REPOSITORY
from tests.mutations.everything import MUTATIONS
from tests.mutations.mutation import Mutation, mutations

ENOUGH = 150


def test_the_mutations_have_their_places_in_the_code() -> None:
    stale = [each.name for each in MUTATIONS if each.is_stale(REPOSITORY)]
    assert len(MUTATIONS) - len(stale) >= ENOUGH, stale
    assert len(stale) <= len(MUTATIONS) // 10, "\n".join(["these have no place in the code any more:", *stale])


def test_the_tests_that_must_notice_them_are_there() -> None:
    named = {test.partition("::")[0] for each in MUTATIONS for test in each.tests}
    assert [test for test in sorted(named) if not (REPOSITORY / test).is_file()] == []


def test_every_area_that_was_found_weak_is_there() -> None:
    weak = {
        "order on the disk",
        "published numbers",
        "placement",
        "safety nets",
        "recorder",
        "verbs",
        "secrets",
        "check",
    }
    assert weak <= {each.area for each in MUTATIONS}


@pytest.mark.parametrize(("text", "applied"), [("a = 1\n", "a = 2\n"), ("a = 1\na = 1\n", None), ("", None)])
def test_a_mutation_changes_one_place_or_none(tmp_path: Path, text: str, applied: str | None) -> None:
    (each,) = mutations("area", "f.py", "test_x.py", ("a = 1", "a = 2"))
    assert each == Mutation("area", "f.py", "a = 1", "a = 2", ("tests/unit/test_x.py",))
    assert each.applied(text) == applied
    (tmp_path / "f.py").write_text(text)
    assert each.is_stale(tmp_path) == (applied is None)
