"""When workers meet, by the program's parameters."""

from __future__ import annotations

from typing import Any

import pytest
from training.errors import ProgramError
from training.kvstores.allreduce.kvstore import AllreduceKVStore
from training.kvstores.registration import KVStoreOptions, Opening
from training.options.description import described
from training.rules import Cadence, cadence_of
from training.rules.common.cadence import CADENCES


def meetings(cadence: Cadence, epochs: int = 3, steps: int = 5) -> list[int]:
    """The steps of a run, from 1, after which workers met; at an epoch's end too where the cadence says so."""
    found = []
    for step in range(1, epochs * steps + 1):
        if cadence.advance() or (step % steps == 0 and cadence.at_epochs):
            cadence.met()
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("asked", "every", "expected"),
    [
        ({}, 1, list(range(1, 16))),
        ({}, 3, [3, 5, 8, 10, 13, 15]),  # synchronise_every: the count begins again with every epoch
        ({"meet_every": 3}, 1, [3, 6, 9, 12, 15]),
        ({"meet_every": 7}, 1, [7, 14]),  # more than an epoch has
        ({"meet_every": 1}, 1, list(range(1, 16))),
        ({"cadence": "epoch"}, 1, [5, 10, 15]),
        ({"cadence": "once"}, 1, []),
        ({"cadence": "post_local", "meet_every": 4, "meet_always_for": 6}, 1, [1, 2, 3, 4, 5, 6, 10, 14]),
    ],
)
def test_workers_meet_when_they_are_asked_to(asked: dict[str, Any], every: int, expected: list[int]) -> None:
    assert meetings(cadence_of(asked, every)) == expected


@pytest.mark.parametrize(
    ("asked", "every"),
    [({"meet_every": 3}, 2), ({"cadence": "epoch"}, 2), ({"cadence": "once", "meet_every": 3}, 1)],
)
def test_two_cadences_at_once_are_refused(asked: dict[str, Any], every: int) -> None:
    with pytest.raises(ProgramError):
        cadence_of(asked, every)


@pytest.mark.parametrize(
    ("rule", "own", "message"),
    [
        (
            "admm",
            {"meet_every": 7, "rho": 0.1, "relaxation": 1.0},
            "with the rule admm workers do not go on from the shared",
        ),
        ("average", {"meet_every": 3}, "under way for 3 more steps is not over when the next one begins"),
        ("average", {"meet_every": 1}, "under way for 3 more steps"),
        ("average", {"cadence": "epoch"}, "under way for 3 more steps"),
        ("average", {"cadence": "once"}, "under way for 3 more steps"),
        ("sgd", {}, "under way for 3 more steps"),
    ],
)
def test_a_delay_that_means_nothing_is_refused(rule: str, own: dict[str, Any], message: str) -> None:
    asked = KVStoreOptions(rule=rule, own={**own, "meet_delay": 3})
    with pytest.raises(ProgramError, match=message):
        AllreduceKVStore(Opening(None, asked, 64, 0.1, 0))  # type: ignore[arg-type]


def test_there_is_no_delay_while_workers_meet_in_every_step() -> None:
    cadence = cadence_of({"cadence": "post_local", "meet_every": 4, "meet_always_for": 2})
    found = []
    for _ in range(4):
        cadence.advance()
        found.append(cadence.every_step)
    assert found == [True, True, False, False]
    assert cadence.leaves(3)
    assert not cadence.leaves(4)


def test_a_count_goes_on_after_a_checkpoint() -> None:
    asked = {"cadence": "post_local", "meet_every": 4, "meet_always_for": 6}
    first = cadence_of(asked)
    before = meetings(first, epochs=1, steps=8)
    second = cadence_of(asked)
    second.restore(first.save())
    assert before + [8 + step for step in meetings(second, epochs=1, steps=7)] == meetings(cadence_of(asked))


def test_the_described_cadences_are_these() -> None:
    (cadence,) = (each for each in described("train.py").parameters if each.name == "cadence")
    assert cadence.choices == CADENCES
