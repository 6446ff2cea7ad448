"""Every promise of the threat model names the test that holds it."""

from __future__ import annotations

import re

from harness.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "explanation" / "threat-model.md"


def test_every_promise_names_tests_that_are_there() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    promises = [(promise, re.findall(r"`(tests/[^`]+)`", tests)) for promise, tests in rows if set(promise) != {"-"}]
    promises = [
        (promise, tests) for promise, tests in promises if promise != "promise" and not promise.startswith("---")
    ]
    assert len(promises) >= 15
    assert [promise for promise, tests in promises if not tests] == []
    assert [test for _, tests in promises for test in tests if not (REPOSITORY / test).exists()] == []
