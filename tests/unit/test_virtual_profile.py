from __future__ import annotations

import pytest

from harness.errors import BadInputError
from harness.virtual import profile


def test_the_rule_divides_the_boards_rate_by_the_machines() -> None:
    quota = profile.quota_of("pi3", 140.0, None)
    assert quota.fraction == pytest.approx(21.0 / 140.0, abs=0.001)
    assert quota.rule == profile.RULE
    assert quota.as_json()["board"]["sgemm_gflops"] == 21.0  # type: ignore[index]


def test_a_share_that_is_given_wins_over_the_rule() -> None:
    assert profile.quota_of("pi3", None, 0.5).fraction == 0.5
    assert not profile.needs_measurement("pi3", 0.5)
    assert profile.needs_measurement("pi3", None)


def test_without_a_board_there_is_no_limit() -> None:
    assert profile.quota_of("none", None, None).fraction is None
    assert not profile.needs_measurement("none", None)


def test_a_slow_machine_gives_more_than_a_core() -> None:
    assert profile.quota_of("pi3", 10.0, None).fraction == pytest.approx(2.1)


def test_the_rule_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="rate"):
        profile.quota_of("pi3", None, None)


@pytest.mark.parametrize(("name", "override"), [("pi9", None), ("pi3", 0.0), ("pi3", -1.0), ("none", 1e9)])
def test_profiles_and_shares_that_are_none_are_refused(name: str, override: float | None) -> None:
    with pytest.raises(BadInputError):
        profile.check(name, override)


def test_it_says_when_nodes_want_more_than_there_is() -> None:
    assert profile.shortage([0.15] * 11, cpus=2) is None
    assert "up to 6 nodes" in str(profile.shortage([0.3] * 11, cpus=2))
    assert "compete" in str(profile.shortage([None, 0.1], cpus=2))
    assert profile.shortage([None], cpus=2) is None
    assert profile.shortage([0.3] * 11, dilation=3, cpus=2) is None
    assert "3 nodes of 0.5 or 1 cores want 2.00" in str(profile.shortage([1.0, 0.5, 0.5], cpus=2))
