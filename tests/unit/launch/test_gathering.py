"""When a checkpoint is whole."""

from __future__ import annotations

import hashlib

from harness.contract.events import Event
from harness.launch.checkpoints import Gathering


def announce(gathering: Gathering, worker: str, epoch: int, data: bytes, *, shared: bool = False) -> None:
    values = {
        "rank": 0,
        "epoch": epoch,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "shared": shared,
    }
    gathering.event(worker, Event("checkpoint", values))
    gathering.data(data)


def finish(gathering: Gathering, worker: str, epoch: float) -> None:
    gathering.event(worker, Event("epoch", {"rank": 0, "epoch": epoch, "train_seconds": 1.0}))


def test_an_epoch_that_was_left_out_is_not_reached() -> None:
    gathering = Gathering(["worker0"])
    announce(gathering, "worker0", 1, b"one", shared=True)
    for epoch in (3.0, 2.0, 1.5):
        finish(gathering, "worker0", epoch)
    assert gathering.whole() is None
    finish(gathering, "worker0", 1.0)
    found = gathering.whole()
    assert found is not None
    assert (found.epoch, found.weights) == (1, {"": b"one"})


def test_own_weights_of_one_worker_are_no_checkpoint() -> None:
    gathering = Gathering(["worker0", "worker1"])
    for worker in ("worker0", "worker1"):
        finish(gathering, worker, 1)
    announce(gathering, "worker0", 1, b"zero")
    assert gathering.whole() is None
    announce(gathering, "worker1", 1, b"one")
    found = gathering.whole()
    assert found is not None
    assert found.weights == {"worker0": b"zero", "worker1": b"one"}


def test_the_slowest_worker_says_how_far_it_goes() -> None:
    gathering = Gathering(["worker0", "worker1"])
    for epoch in (1, 2):
        finish(gathering, "worker0", epoch)
        announce(gathering, "worker0", epoch, b"weights %d" % epoch, shared=True)
    finish(gathering, "worker1", 1)
    found = gathering.whole()
    assert found is not None
    assert found.epoch == 1
    assert gathering.whole() is None
    finish(gathering, "worker1", 2)
    found = gathering.whole()
    assert found is not None
    assert found.epoch == 2


def test_weights_that_nobody_announced_do_not_fill_the_memory() -> None:
    gathering = Gathering(["worker0"])
    for number in range(100):
        gathering.data(b"%d" % number)
    assert len(gathering._arrived) <= 4
