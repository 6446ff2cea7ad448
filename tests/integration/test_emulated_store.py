"""From empty 64-bit ARM nodes to `dist_sync`, with nothing of the user's: site.yml, then the reference experiment."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import emulated_nodes
import pytest

from harness.paths import EXPERIMENTS
from harness.virtual.host.rootfs import SUITES

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.mxnet,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(emulated_nodes.obstacle()), reason=emulated_nodes.obstacle() or "has what it takes"),
]
ADDRESSES = ("10.71.0.11", "10.71.0.12")
SMALL = ("--set", "dataset=digits", "--set", "limit=128", "--set", "epochs=1")


@pytest.fixture(scope="module", params=SUITES)
def nodes(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[emulated_nodes.Emulated]:
    """Two nodes after `harness provision`."""
    directory = tmp_path_factory.mktemp(request.param)
    with emulated_nodes.emulated_nodes(directory, request.param, ADDRESSES, "10.71.0.1") as running:
        done = running.harness("provision", limit_seconds=1800)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        yield running


def rows(file: Path) -> list[dict[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_lenet_scales_over_the_native_servers(nodes: emulated_nodes.Emulated, tmp_path: Path) -> None:
    runtime = json.loads((nodes.inventory.parent / "opt/harness/runtime/runtime.json").read_text(encoding="utf-8"))
    assert (runtime["architecture"], runtime["kvstore_implementations"]) == ("aarch64", ["native"])
    done = nodes.harness(
        "sweep", EXPERIMENTS / "lenet_scaling.yaml", "--nodes", "1,2", *SMALL,
        "--start-timeout", "900", "--stall-timeout", "900", "-o", tmp_path, limit_seconds=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    run = tmp_path / "lenet_scaling" / "latest"
    trials = rows(run / "trials.csv")
    assert [(row["nodes"], row["status"]) for row in trials] == [("1", "ok"), ("2", "ok")]
    assert {row["kvstore"] for row in trials} == {"dist_sync"}
    lines = [line for file in run.glob("trials/*/events.jsonl") for line in file.read_text("utf-8").splitlines()]
    events = [json.loads(line) for line in lines]
    ready = [event for event in events if event["event"] == "ready"]
    assert [event["kvstore_implementation"] for event in ready] == ["native"] * 3
