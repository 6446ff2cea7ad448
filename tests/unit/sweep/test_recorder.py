"""What a running trial says becomes rows, whatever its workers and nodes say."""

from __future__ import annotations

import hashlib
import json
import queue
from pathlib import Path

import pytest
from launch_parts import NODES
from recorded_trial import recorded

from harness.contract.events import Event
from harness.results.disk import read_rows


def said(directory: Path, *events: tuple[str, dict[str, float]]) -> tuple[list[str], list[dict[str, str]]]:
    """What is held against a trial in which these ranks print epochs, and its rows of epochs.csv as rank, epoch and images."""
    with recorded(directory, queue.Queue(), dilation=1.0) as made:
        for name, values in events:
            rank = made.running.watch.ranks[name]
            made.recorder.event(rank, Event("epoch", {"train_seconds": 1.0, "images": 500, **values}))
    rows = [{key: str(row[key]) for key in ("rank", "epoch", "images")} for row in read_rows(made.paths.epochs)]
    return made.recorder.contradictions, rows


def test_an_epoch_that_is_printed_twice_counts_once(tmp_path: Path) -> None:
    against, rows = said(
        tmp_path, ("worker0", {"rank": 0, "epoch": 1}), ("worker1", {"rank": 1, "epoch": 1}),
        ("worker0", {"rank": 0, "epoch": 1, "images": 700}),
    )  # fmt: skip
    assert against == ["worker0 printed an epoch twice; the first counts"]
    assert [(row["rank"], row["images"]) for row in rows] == [("0", "500"), ("1", "500")]


def test_an_epoch_under_anothers_rank_does_not_count(tmp_path: Path) -> None:
    against, rows = said(
        tmp_path, ("worker0", {"rank": 0, "epoch": 1}), ("worker1", {"rank": 0, "epoch": 1}),
        ("worker1", {"rank": 1, "epoch": 2}),
    )  # fmt: skip
    assert against[0] == "worker1 printed an epoch as rank 0, which worker0 is; it is not counted"
    assert [(row["rank"], row["epoch"]) for row in rows if row["epoch"] == "1"] == [("0", "1")]


@pytest.mark.parametrize("ranks", [(0, 1), (1, 0)])
def test_ranks_in_the_order_of_arrival_are_no_contradiction(tmp_path: Path, ranks: tuple[int, int]) -> None:
    """With ps-lite, worker1 may well be rank 0."""
    events = [(f"worker{n}", {"rank": rank, "epoch": epoch}) for epoch in (1, 2) for n, rank in enumerate(ranks)]
    against, rows = said(tmp_path, *events)
    assert (against, len(rows)) == ([], 4)


def test_ends_and_events_of_any_size_become_rows(tmp_path: Path) -> None:
    huge = {"rank": 0, "epoch": 1, "train_seconds": 1.7e308, "images": 1.7e308, "wait_seconds": -1.7e308}
    against, rows = said(tmp_path, ("worker0", huge), ("worker1", {**huge, "rank": 1}))
    assert (against, len(rows)) == ([], 2)


def test_times_of_samples_and_epochs_are_undilated(tmp_path: Path) -> None:
    with recorded(tmp_path, queue.Queue(), dilation=4.0) as made:
        made.recorder.telemetry(NODES[0], {"cpu_percent": 20.0, "memory_used_bytes": 7})
        epoch = Event("epoch", {"rank": 0, "epoch": 1, "train_seconds": 8.0, "images": 500})
        made.recorder.event(made.running.watch.ranks["worker0"], epoch)
    (sample,), (row,) = read_rows(made.paths.telemetry), read_rows(made.paths.epochs)
    assert (float(str(sample["cpu_percent"])), sample["memory_used_bytes"]) == (80.0, "7")
    assert (float(str(row["train_seconds"])), row["images"]) == (2.0, "500")


def test_a_trial_started_up_once_although_a_worker_is_ready_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded(tmp_path, queue.Queue(), dilation=1.0) as made:
        seconds = 3.0
        monkeypatch.setattr(made.recorder, "_elapsed", lambda: seconds)
        workers = [made.running.watch.ranks[name] for name in ("worker0", "worker1")]
        for worker in workers:
            made.recorder.event(worker, Event("ready", {"rank": worker.number, "parameters": 10}))
        seconds = 50.0
        made.recorder.event(workers[1], Event("ready", {"rank": 1, "parameters": 10}))
        for worker in workers:
            made.recorder.event(worker, Event("epoch", {"rank": worker.number, "epoch": 1, "train_seconds": 1.0}))
        ahead = Event("epoch", {"rank": 0, "epoch": 2, "train_seconds": 1.0})
        made.recorder.event(workers[0], ahead)  # its row is none of the checkpoint's
        digest = hashlib.sha256(b"weights").hexdigest()
        shared = {"rank": 0, "epoch": 1, "bytes": 7, "sha256": digest, "shared": True}
        made.recorder.event(workers[0], Event("checkpoint", shared))
        made.recorder.checkpoint(workers[0], b"weights")
        saved = json.loads(made.paths.checkpoint_record("n01-r1").read_text())
    assert (saved["startup_seconds"], saved["total_seconds"], saved["model_parameters"]) == (3.0, 50.0, 10)
    assert saved["rows"]["epochs"] == 2


def test_samples_of_a_node_have_what_its_ranks_said_of_their_tasks_last(tmp_path: Path) -> None:
    def told(done: int) -> Event:
        return Event("tasks", {"rank": 0, "tasks_done": done, "tasks_in_flight": 2, "task_bytes_sent": 10 * done})

    with recorded(tmp_path, queue.Queue(), dilation=4.0) as made:
        made.recorder.telemetry(NODES[0], {"cpu_percent": 20.0})
        for name, done in (("worker0", 1), ("worker0", 5), ("worker1", 7)):
            made.recorder.event(made.running.watch.ranks[name], told(done))
        made.recorder.telemetry(NODES[0], {"cpu_percent": 20.0})
        made.recorder.telemetry(NODES[1], {"cpu_percent": 20.0})
    rows = read_rows(made.paths.telemetry)
    names = ("tasks_done", "tasks_in_flight", "task_bytes_sent")
    assert [tuple(row[name] for name in names) for row in rows] == [("", "", ""), ("12", "4", "120"), ("", "", "")]


def test_a_file_that_a_rank_left_lies_with_its_trial(tmp_path: Path) -> None:
    with recorded(tmp_path, queue.Queue()) as made:
        made.recorder.file(made.running.watch.ranks["worker0"], "report.html", b"<p>")
    assert (made.paths.trial("n01-r1") / "report.html").read_bytes() == b"<p>"
