"""When a checkpoint is whole, and what nodes are told of it."""

from __future__ import annotations

import hashlib
import json

import pytest
from launch_parts import placement

from harness.contract.events import Event
from harness.launch.checkpoints import Checkpoint, Gathering, Keeping, Saved, read_saved, record_of


def epoch(gathering: Gathering, worker: str, number: int) -> None:
    gathering.event(worker, Event("epoch", {"rank": 0, "epoch": number}))


def said(gathering: Gathering, worker: str, number: int, data: bytes, shared: bool = True) -> None:
    values = {"rank": 0, "epoch": number, "sha256": hashlib.sha256(data).hexdigest(), "shared": shared}
    gathering.event(worker, Event("checkpoint", values))


@pytest.mark.parametrize("data_first", [True, False])
def test_a_checkpoint_is_whole_once_every_workers_row_is_there(data_first: bool) -> None:
    gathering = Gathering(["worker0", "worker1"])
    epoch(gathering, "worker1", 1)
    if data_first:
        gathering.data(b"one")
    said(gathering, "worker1", 1, b"one")
    gathering.data(b"one")
    assert gathering.whole() is None
    epoch(gathering, "worker0", 1)
    assert gathering.whole() == Checkpoint(1, {"": b"one"})
    assert gathering.whole() is None


def test_an_epoch_whose_row_was_lost_makes_no_later_checkpoint_whole() -> None:
    gathering = Gathering(["worker0"])
    for number in (1, 3):
        epoch(gathering, "worker0", number)
        said(gathering, "worker0", number, b"%d" % number)
        gathering.data(b"%d" % number)
    assert gathering.whole() == Checkpoint(1, {"": b"1"})
    assert gathering.whole() is None


def test_workers_with_weights_of_their_own_need_all_of_one_epoch() -> None:
    gathering = Gathering(["worker0", "worker1"], finished=2)
    for worker, reached in (("worker0", 5), ("worker1", 4)):
        for number in range(3, reached + 1):
            epoch(gathering, worker, number)
            data = f"{worker} {number}".encode()
            said(gathering, worker, number, data, shared=False)
            gathering.data(data)
    whole = gathering.whole()
    assert whole == Checkpoint(4, {"worker0": b"worker0 4", "worker1": b"worker1 4"})
    assert whole is not None
    assert whole.of("worker1") == b"worker1 4"


def test_one_that_came_before_its_event_is_not_forgotten() -> None:
    gathering = Gathering(["worker0"])
    epoch(gathering, "worker0", 1)
    said(gathering, "worker0", 1, b"one")
    gathering.data(b"two")
    gathering.data(b"one")
    assert gathering.whole() == Checkpoint(1, {"": b"one"})
    epoch(gathering, "worker0", 2)
    said(gathering, "worker0", 2, b"two")
    assert gathering.whole() == Checkpoint(2, {"": b"two"})


def test_what_is_sent_again_and_again_does_not_fill_the_memory() -> None:
    gathering = Gathering(["worker0"])
    for number in range(100):
        gathering.data(b"%d" % number)
    assert len(gathering._arrived) == 4


def test_other_weights_than_the_ones_announced_are_not_taken() -> None:
    gathering = Gathering(["worker0"])
    epoch(gathering, "worker0", 1)
    said(gathering, "worker0", 1, b"one")
    gathering.data(b"another")
    assert gathering.whole() is None


def test_only_workers_are_asked_and_begin_with_it() -> None:
    keeping = Keeping(lambda rank, data: None, Checkpoint(3, {"worker0": b"zero", "worker1": b"first"}))
    ranks = placement().ranks
    told = {rank.name: keeping.environment_of(rank) for rank in ranks}
    both = {"HARNESS_CHECKPOINT": "checkpoint.npz", "HARNESS_RESUME_FROM": "resume.npz"}
    assert told == {"scheduler0": {}, "server0": {}, "worker0": both, "worker1": both}
    assert keeping.request_of(ranks) == {
        "checkpoint": {"file": "checkpoint.npz", "ranks": ["worker0", "worker1"]},
        "resume": {"file": "resume.npz", "bytes": {"worker0": 4, "worker1": 5}},
    }
    assert keeping.files_of(ranks) == b"zerofirst"
    anew = Keeping(lambda rank, data: None)
    assert "resume" not in anew.request_of(ranks)
    assert anew.environment_of(ranks[-1]) == {"HARNESS_CHECKPOINT": "checkpoint.npz"}


def test_a_record_is_read_as_it_was_written_unless_a_file_is_torn() -> None:
    weights = {"worker0": b"zero", "worker1": b"first"}
    saved = Saved(Checkpoint(3, weights), {"epochs": 6, "telemetry": 2}, 1.5, 60.0, 61706)
    record = json.loads(json.dumps(record_of(saved)))
    assert saved.files == {"epoch3-worker0.npz": b"zero", "epoch3-worker1.npz": b"first"}
    assert read_saved(record, saved.files.__getitem__) == saved
    with pytest.raises(ValueError, match="is torn"):
        read_saved(record, lambda name: saved.files[name][:-1])
