"""What is read out of a run directory: rates of workers that train at the same time, and how a sweep began."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from training import models

from harness.contract.wire import PHASE_KEYS
from harness.experiment.declaration import load_experiment
from tests.bench import images, stores
from tests.bench.measures import IncomparableError, Rate, Series, rate_of, server_cpu_seconds, start_of

NOON = pd.Timestamp("2026-01-01T12:00:00Z")


def epochs(starts: dict[int, float], seconds: dict[int, float], count: int) -> pd.DataFrame:
    """Workers that begin at `starts` and take `seconds` for each of `count` epochs of 10 steps of 64 images."""
    rows: list[dict[str, Any]] = [
        {
            "rank": rank,
            "epoch": epoch,
            "time": (NOON + pd.Timedelta(seconds=start + epoch * seconds[rank])).isoformat(),
            "steps": 10,
            "images": 640,
            "train_seconds": seconds[rank],
            "validation_seconds": 0.0,
            "cpu_seconds": 0.2,
            "bytes_sent": 1000,
            "packets_sent": 20,
            "packets_received": 10,
            **dict.fromkeys(PHASE_KEYS, 0.1),
            "wait_seconds": 0.5,
            "push_seconds": None,
        }
        for rank, start in starts.items()
        for epoch in range(1, count + 1)
    ]
    return pd.DataFrame(rows)


def test_workers_in_step_are_counted_from_the_second_epoch_on() -> None:
    rate = rate_of(epochs({0: 0.0, 1: 0.01}, {0: 2.0, 1: 2.0}, count=2))
    assert rate.images_per_second == pytest.approx(2 * 640 / 2.0)
    assert rate.step_seconds == pytest.approx(0.2)
    assert rate.cpu_seconds == pytest.approx(0.02)
    assert rate.bytes_sent == pytest.approx(100)
    assert rate.packets == pytest.approx(3)
    assert list(rate.phases) == ["data", "forward", "backward", "wait", "pull", "update"]
    assert (rate.phases["backward"], rate.phases["wait"]) == pytest.approx((0.01, 0.05))


def test_only_the_time_in_which_all_train_counts() -> None:
    table = epochs({0: 0.0, 1: 3.0}, {0: 1.0, 1: 1.0}, count=8)
    # alone, worker 0 was twice as fast
    table.loc[(table["rank"] == 0) & (table["epoch"] <= 3), "train_seconds"] = 0.5
    assert rate_of(table).images_per_second == pytest.approx(2 * 640)


def test_workers_that_never_train_together_give_no_rate() -> None:
    with pytest.raises(IncomparableError, match="same time"):
        rate_of(epochs({0: 0.0, 1: 60.0}, {0: 1.0, 1: 1.0}, count=4))


def test_the_overhead_is_what_the_slowest_workers_own_start_leaves(tmp_path: Path) -> None:
    began = NOON.timestamp()
    (tmp_path / "trials" / "t").mkdir(parents=True)
    (tmp_path / "manifest.json").write_text("{}")
    os.utime(tmp_path / "manifest.json", (began + 1, began + 1))
    (tmp_path / "trials.csv").write_text("trial,status,started_at\nt,ok,2026-01-01T12:00:01.500Z\n")
    ready = [
        {
            "event": "ready",
            "time": f"2026-01-01T12:00:{at}Z",
            "import_seconds": own,
            "data_seconds": 0,
            "store_seconds": 1,
        }
        for at, own in (("09.000", 4.0), ("10.000", 6.0))
    ]
    (tmp_path / "trials" / "t" / "events.jsonl").write_text("\n".join(map(json.dumps, ready)))
    start = start_of(tmp_path, began)
    assert (start.manifest, start.launched, start.ready, start.slowest) == pytest.approx((1.0, 1.5, 10.0, 7.0))
    assert start.programs == pytest.approx(4.0)
    assert start.overhead == pytest.approx(3.0)


def test_the_wires_bound_is_what_the_facts_say() -> None:
    assert stores.wire_seconds(61_706, 11) == pytest.approx(0.038, abs=0.001)


def test_a_store_that_failed_says_why_and_keeps_nothing() -> None:
    def rate(images_per_second: float) -> Rate:
        return Rate(images_per_second, 0.1, 0.01, 1000, 30, {"forward": 0.02, "backward": 0.005}, 0.0123)

    series = {
        "none": Series({1: rate(1000)}, ()),
        "stock": Series({1: rate(190)}, ()),
        "allreduce": Series({1: rate(900)}, ()),
        "torch_ddp": Series({}, ("failed: this node's runtime has no PyTorch",)),
    }
    rows = {row.what: row for row in stores.rows(stores.LOADS[0], 11, series)}
    assert rows["lenet5 at 11 nodes: kept by allreduce"].median == pytest.approx(0.9)
    assert rows["lenet5 at 11 nodes: kept by allreduce"].held
    assert rows["lenet5 at 11 nodes: kept by stock"].held is None
    assert rows["lenet5 at 11 nodes: kept by torch_ddp"].median is None
    assert "no PyTorch" in rows["lenet5 at 11 nodes: torch_ddp"].note
    assert rows["lenet5 at 11 nodes: allreduce"].note == (
        "step 100 ms: forward 20 backward 5.0, CPU 10 + server 12, 30 packets, sent 1 kB"
    )


def test_a_servers_start_is_not_its_steps() -> None:
    ranks = pd.DataFrame({"role": ["scheduler", "server", "server", "worker"], "cpu_seconds": [1.0, 1.5, 2.5, 9.0]})
    assert server_cpu_seconds(ranks, steps=100) == pytest.approx(0.01)
    assert server_cpu_seconds(ranks[ranks["role"] == "worker"], steps=100) is None


def test_images_that_were_never_made_are_rows_that_say_how(tmp_path: Path) -> None:
    assert all("docs/how-to/card-images.md" in row.note for row in images.rows(tmp_path / "figures.json"))
    (tmp_path / "figures.json").write_text('{"node_seconds": {"pi01": 1.5, "pi02": 1.7}, "base_build_seconds": 800}')
    rows = {row.what: row for row in images.rows(tmp_path / "figures.json")}
    assert rows["card image: one node's"].held
    assert rows["card image: base built"].held is False


def test_loads_name_variants_that_the_baselines_have() -> None:
    declared = load_experiment(stores.BASELINES)
    for load in (*stores.LOADS, *stores.QUICK_LOADS):
        assert set(load.variants) <= set(declared.variants)
        assert load.model in models.names()
        assert load.parameters == models.load(load.model, 10).parameters()
