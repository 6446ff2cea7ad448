"""A home that learns: the world, the stream, the memory, and when homes meet. Pure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training import datasets
from training.engines.base import Memory
from training.errors import ProgramError
from training.kvstores.allreduce.links import Links
from training.online.home import Options
from training.online.sharing import Alarm, Circle, Policy, meeting_bytes, ticks_within
from training.online.stream import Reservoir, Stream
from training.online.world import CHANGES, Calendar, World
from training.options.command_line import parse
from training.options.description import described
from training.partition import BY_LABEL, Partition
from training.rules import RULES
from training.rules.average import Average
from training.sharding import Shares
from training.trial import Seat

DIGITS = datasets.load("digits", Path("unused"), 1000).train


def test_a_quarter_turn_four_times_is_none() -> None:
    images, labels = World(("turn",) * 4).seen(DIGITS.images, DIGITS.labels, 10)
    np.testing.assert_array_equal(images, DIGITS.images)
    turned, _ = World(("turn",)).seen(DIGITS.images, labels, 10)
    np.testing.assert_array_equal(turned[0], np.rot90(DIGITS.images[0]))


def test_colours_turn_as_pictures_do() -> None:
    image = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    turned, _ = World(("turn",)).seen(image, np.zeros(2, np.uint8), 10)
    np.testing.assert_array_equal(turned[1, 2], np.rot90(image[1, 2]))


def test_labels_are_exchanged_and_light_is_halved() -> None:
    images, labels = World(("swap", "dim")).seen(DIGITS.images, DIGITS.labels, 10)
    np.testing.assert_array_equal(labels, (DIGITS.labels + 1) % 10)
    np.testing.assert_array_equal(images, DIGITS.images // 2)
    assert labels.dtype == np.uint8


def test_the_world_changes_after_the_declared_ticks() -> None:
    calendar = Calendar.read("8:dim, 5:turn")
    assert [calendar.world(tick).changes for tick in (5, 6, 9)] == [(), ("turn",), ("turn", "dim")]
    assert calendar.before(5) is None
    assert calendar.before(9) == World(("turn",))
    assert Calendar.read(None).world(10**6) == World()


@pytest.mark.parametrize("text", ["turn", "5", "0:turn", "5:melt", "x:turn", "5:turn;6:dim"])
def test_what_is_no_calendar_is_named(text: str) -> None:
    with pytest.raises(ProgramError, match="is no change of the world"):
        Calendar.read(text)


def test_a_stream_goes_through_the_homes_own_images_and_begins_anew() -> None:
    shares = Shares((10,) * 5, 1)
    partition = Partition(BY_LABEL, DIGITS.labels, shares, seed=0, pieces=1)
    stream = Stream(DIGITS, partition, Calendar.read("3:swap"), 10)
    walk = [stream.tick(tick)[1] for tick in range(1, 25)]
    plain = np.concatenate(walk[:3])
    assert len(np.unique(plain)) <= 3
    assert set(np.unique(np.concatenate(walk[3:])) - 1) <= {*np.unique(DIGITS.labels[partition.own]).tolist(), -1}
    again = Stream(DIGITS, partition, Calendar(), 10)
    assert not all(np.array_equal(again.tick(t)[0], again.tick(t + 20)[0]) for t in range(1, 21))  # in another order
    np.testing.assert_array_equal(again.tick(2)[0], stream.tick(2)[0])
    assert sorted(np.concatenate([again.tick(t)[1] for t in range(1, 21)])) == sorted(
        np.concatenate([again.tick(t)[1] for t in range(21, 41)])
    )


def test_a_reservoir_keeps_every_image_with_the_same_chance() -> None:
    kept = np.zeros(20)
    for seed in range(400):
        memory = Reservoir(5, seed)
        for number in range(20):
            memory.take(np.full((1, 2, 2), number, np.uint8), np.array([number], np.uint8))
        images, labels = memory.draw(40)
        np.testing.assert_array_equal(images[:, 0, 0], labels)
        kept[np.unique(labels)] += 1
    assert kept.min() > 60
    assert kept.max() < 140


def test_an_alarm_rings_once_for_a_change_and_learns_anew() -> None:
    alarm = Alarm(2.0, ticks=3)
    assert not any(alarm.hear(loss) for loss in (2.0, 1.0, 0.5, 0.5, 0.5, 0.6))
    rung = [alarm.hear(1.5) for _ in range(8)]
    assert sum(rung) == 1
    assert not any(alarm.hear(loss) for loss in (1.0, 0.5, 0.5, 0.5))
    assert any(alarm.hear(2.0) for _ in range(3))


def test_an_alarm_rings_for_a_change_that_comes_slowly_too() -> None:
    alarm = Alarm(1.95, ticks=3)
    rung = [alarm.hear(0.5 + 0.1 * tick) for tick in range(10)]
    assert rung == [tick == 8 for tick in range(10)]  # when the mean is 1.2, and was 0.6 at its lowest


class Values(Memory):
    """A model's, without an engine."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def settled(self) -> np.ndarray:
        return self.values


def test_a_model_has_the_shared_values_only_while_it_is_judged() -> None:
    own = Values(np.zeros(4, np.float32))
    rule = RULES["average"](Shares((8,), 0), 4)
    assert isinstance(rule, Average)
    circle = Circle(Links(Seat(0, 1, "127.0.0.1", ("127.0.0.1", 9), b""), 1), own, rule)
    own.values += 1
    with circle.shared_values():
        np.testing.assert_array_equal(own.values, np.zeros(4))
    np.testing.assert_array_equal(own.values, np.ones(4))


def test_homes_meet_regularly_and_more_often_after_an_alarm() -> None:
    policy = Policy(every=5, alert_every=2, alert_ticks=6)
    met = [tick for tick in range(1, 31) if policy.due(tick == 12)]
    assert met == [5, 10, 12, 14, 16, 21, 26]


def test_a_budget_says_how_often_homes_can_meet() -> None:
    meeting = meeting_bytes(61_706, 5)
    assert meeting == pytest.approx(394_918, abs=1)
    every = ticks_within(10e6, meeting, tick_seconds=1.0)
    assert meeting * 3600 / every <= 10e6 < meeting * 3600 / (every - 1)
    assert ticks_within(1e12, meeting, 1.0) == 1


def test_the_options_are_the_described_parameters() -> None:
    options = Options(**parse(described("online.py"), []))  # type: ignore[arg-type]
    assert (options.strategy, options.share_every, options.budget) == ("average", 10, None)
    help_of = {parameter.name: parameter.help for parameter in described("online.py").parameters}
    assert all(change in help_of["changes"] for change in CHANGES)
