"""Which values a parameter takes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.experiment.parameter import Parameter, applies

NUMBER = Parameter(type="float", default=1.0, help="h")


def refused(parameter: Parameter, value: Any) -> bool:
    try:
        parameter.checked(value)
    except ValueError as error:
        return "is not allowed" in str(error)
    return False


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400), True, "1", [1]],
    ids=lambda value: str(value)[:5],
)
def test_what_is_no_finite_number_is_no_number(value: Any) -> None:
    assert refused(NUMBER, value)
    assert refused(Parameter(type="int", default=1, help="h"), value)


def test_bounds_are_as_they_are_called() -> None:
    between = Parameter(type="int", minimum=1, maximum=3, default=1, help="h")
    assert [value for value in range(-1, 6) if not refused(between, value)] == [1, 2, 3]
    above = Parameter(type="float", above=0, default=0.5, help="h")
    assert (refused(above, 0), refused(above, 1e-300)) == (True, False)


def test_a_condition_holds_where_all_of_it_does() -> None:
    when = {"a": [1, 2], "b": ["x"]}
    assert applies(when, {"a": "2", "b": "x"})
    assert not applies(when, {"a": 1, "b": "y"})
    assert not applies(when, {"b": "x"})
    assert applies({}, {})
