"""The allreduce store's exchange over real sockets on loopback; no MXNet in it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time

import allreduce_job
import numpy as np
import pytest
from training.errors import ProgramError
from training.kvstores.allreduce.exchange import Exchange, added
from training.kvstores.allreduce.links import Links, Seat, link


def values(rank: int, size: int, step: int = 0) -> np.ndarray:
    return np.random.RandomState(1000 * step + rank).standard_normal(size).astype(np.float32)


def in_order(workers: int, size: int, step: int = 0) -> np.ndarray:
    """The sum in the order of ranks, as float32 rounds it."""
    total = values(0, size, step)
    for rank in range(1, workers):
        total = total + values(rank, size, step)
    return total


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [0, 1, 3, 7, 61_706])
def test_sum_has_the_same_bits_everywhere_and_adds_in_the_order_of_ranks(workers: int, size: int) -> None:
    def work(links: Links) -> list[np.ndarray]:
        exchange = Exchange(links, 0, size, np.float32)
        return [exchange.sum(values(links.rank, size, step)) for step in range(3)]

    for sums in allreduce_job.together(work, allreduce_job.seats(workers)):
        for step, found in enumerate(sums):
            np.testing.assert_array_equal(found, in_order(workers, size, step))


def test_sum_keeps_its_type() -> None:
    def work(links: Links) -> np.ndarray:
        return Exchange(links, 0, 2, np.float64).sum(np.array([2.0**40 + links.rank, 2.0**-40]))

    for found in allreduce_job.together(work, allreduce_job.seats(3)):
        assert found.tolist() == [3 * 2.0**40 + 3, 3 * 2.0**-40]


@pytest.mark.parametrize(("channels", "priorities"), [(1, [2]), (2, [6, 2])])
def test_of_several_channels_the_first_goes_first(channels: int, priorities: list[int]) -> None:
    def work(links: Links) -> list[list[int]]:
        sockets = [
            [links.to(channel, peer)._socket for channel in range(channels)] for peer in {0, 1, 2} - {links.rank}
        ]
        return [[one.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) for one in each] for each in sockets]

    for found in allreduce_job.together(work, allreduce_job.seats(3), channels=channels):
        assert found == [priorities, priorities]


def test_channels_do_not_wait_for_each_other() -> None:
    def work(links: Links) -> tuple[np.ndarray, np.ndarray]:
        big, small = Exchange(links, 0, 100_000, np.float32), Exchange(links, 1, 10, np.float32)
        mine = values(links.rank, 100_000)
        big.begin_reduce_scatter(mine)
        return small.sum(mine[:10]), _finish(big, mine)

    for first, rest in allreduce_job.together(work, allreduce_job.seats(3), channels=2):
        np.testing.assert_array_equal(first, in_order(3, 100_000)[:10])
        np.testing.assert_array_equal(rest, in_order(3, 100_000))


def _finish(exchange: Exchange, mine: np.ndarray) -> np.ndarray:
    total = np.empty_like(mine)
    total[exchange.own] = added(exchange.end_reduce_scatter())
    exchange.begin_all_gather(total)
    exchange.end_all_gather(total)
    exchange.flush()
    return total


def test_messages_larger_than_the_kernels_buffers_get_through() -> None:
    size = 12_000_000  # 48 MB: everybody has more to send than anybody's kernel takes

    def work(links: Links) -> float:
        return float(Exchange(links, 0, size, np.float32).sum(np.full(size, links.rank + 1, np.float32)).sum())

    assert allreduce_job.together(work, allreduce_job.seats(3)) == [6.0 * size] * 3


def test_a_late_worker_is_waited_for() -> None:
    seats = allreduce_job.seats(2)
    found: list[np.ndarray] = []

    def work(links: Links) -> np.ndarray:
        return Exchange(links, 0, 1, np.float32).sum(np.ones(1, np.float32))

    early = threading.Thread(target=lambda: found.extend(allreduce_job.together(work, seats[1:])))
    early.start()
    time.sleep(0.5)
    found += allreduce_job.together(work, seats[:1])
    early.join(30)
    assert [float(total[0]) for total in found] == [2.0, 2.0]


def test_workers_may_share_nodes() -> None:
    def work(links: Links) -> float:
        return float(Exchange(links, 0, 1, np.float32).sum(np.ones(1, np.float32))[0])

    crowded = [dataclasses.replace(seat, host=f"127.0.0.{seat.rank % 2 + 1}") for seat in allreduce_job.seats(5)]
    assert allreduce_job.together(work, crowded) == [5.0] * 5


def test_a_port_that_is_taken_is_named() -> None:
    seat = allreduce_job.seats(2)[0]
    with socket.create_server(seat.root), pytest.raises(ProgramError, match=f"{seat.root[0]}:{seat.root[1]}"):
        Links(seat, 1)


def test_missing_workers_are_named() -> None:
    seats = allreduce_job.seats(4)
    futures = allreduce_job.outcomes(lambda _: None, [seats[0], seats[2]], join_seconds=1)
    assert "workers 1, 3 did not join in time" in str(futures[0].exception())
    assert isinstance(futures[1].exception(), ProgramError)


def test_another_token_is_refused_and_does_not_disturb_the_trial() -> None:
    seats = allreduce_job.seats(2)
    stranger = dataclasses.replace(seats[1], host="127.0.0.9", token=b"wrong")
    refused: list[BaseException | None] = []

    def intrude() -> None:
        refused.append(allreduce_job.outcomes(lambda _: None, [stranger], join_seconds=10)[0].exception())

    def work(links: Links) -> float:
        return float(Exchange(links, 0, 1, np.float32).sum(np.ones(1, np.float32))[0])

    intruder = threading.Thread(target=intrude)
    intruder.start()
    rest = threading.Timer(1.0, lambda: sums.extend(allreduce_job.together(work, seats[1:])))
    sums: list[float] = []
    rest.start()
    sums += allreduce_job.together(work, seats[:1])
    intruder.join(30)
    rest.join(30)
    assert sums == [2.0, 2.0]
    assert "is no worker of this trial" in str(refused[0])


def test_noise_on_the_port_is_sent_away() -> None:
    seats = allreduce_job.seats(2)

    def shout() -> None:
        for _ in range(50):
            time.sleep(0.02)
            with contextlib.suppress(OSError), socket.create_connection(seats[0].root, 1) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)

    def work(links: Links) -> float:
        return float(Exchange(links, 0, 1, np.float32).sum(np.ones(1, np.float32))[0])

    noise = threading.Thread(target=shout)
    noise.start()
    assert allreduce_job.together(work, seats) == [2.0, 2.0]
    noise.join(30)


def test_a_dead_worker_ends_the_others_at_once() -> None:
    died: list[float] = []

    def work(links: Links) -> None:
        exchange = Exchange(links, 0, 1000, np.float32)
        exchange.sum(values(links.rank, 1000))
        if links.rank == 1:
            died.append(time.monotonic())
            return
        exchange.sum(values(links.rank, 1000))

    futures = allreduce_job.outcomes(work, allreduce_job.seats(3))
    assert time.monotonic() - died[0] < 5
    for rank in (0, 2):
        assert "lost the connection to worker" in str(futures[rank].exception())


def test_a_worker_that_makes_no_progress_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "STALL_SECONDS", 0.5)

    def work(links: Links) -> None:
        if links.rank == 1:
            time.sleep(2)
            return
        Exchange(links, 0, 10, np.float32).sum(values(0, 10))

    stalled = allreduce_job.outcomes(work, allreduce_job.seats(2))[0].exception()
    assert "worker 1 at 127.0.0.2" in str(stalled)
    assert "0.5 s" in str(stalled)


def test_what_is_missing_in_the_environment_is_named() -> None:
    with pytest.raises(ProgramError, match="HARNESS_TRIAL_TOKEN, HARNESS_ROOT_ADDRESS"):
        Seat.from_environment({"HARNESS_WORLD_SIZE": "2", "HARNESS_RANK": "0"})
    assert Seat.from_environment({}).workers == 1
