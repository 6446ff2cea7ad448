"""Branches on different workers, on loopback: the exchanges alone, and training on real engines against one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import allreduce_job
import engine_workers
import numpy as np
import pytest
import training_job
from local_nodes import write_inventory
from training import models
from training.kvstores.allreduce.links import Links
from training.models.catalogue import architecture
from training.sharding import Shares
from training.split.crossings import Swap, crossing
from training.towers.costs import crossed_values, sent_bytes, told_bytes
from training.towers.division import divided

from harness.contract import wire
from harness.paths import EXPERIMENTS, REPOSITORY

STEPS = 6  # of `engine_workers`


def convolution(filters: int, kernel: int) -> dict[str, Any]:
    return {"convolution": {"filters": filters, "kernel": kernel, "padding": kernel // 2}}


HALVES = {
    "input": {"side": 10, "channels": 1},
    "layers": [
        {"concatenation": [[convolution(3, 5), {"activation": "tanh"}], [convolution(5, 3), {"activation": "relu"}]]},
        {"pooling": {"kind": "max", "size": 2}},
        {"concatenation": [[convolution(4, 3), {"activation": "relu"}], [convolution(4, 3)], [convolution(6, 1)], []]},
        {"activation": "tanh"},
        {"concatenation": [[{"dense": 48}, {"activation": "tanh"}], [{"dense": {"units": 40, "bias": False}}]]},
        {"activation": "tanh"},
        {"dense": 64},
        {"activation": "tanh"},
        {"dense": "classes"},
    ],
}
"""AlexNet's shape: branches from the images on, from branches to branches, of unlike sizes, one of them without layers."""

MODULE = {
    "input": {"side": 8, "channels": 1},
    "layers": [
        convolution(4, 3),
        {"activation": "relu"},
        {
            "concatenation": [
                [convolution(3, 1)],
                [convolution(2, 1), {"activation": "relu"}, convolution(5, 3)],
                [{"pooling": {"kind": "max", "size": 3, "stride": 1, "padding": 1}}],
                [convolution(3, 5)],
            ]
        },
        {"pooling": {"kind": "average", "size": 2}},
        {"activation": "tanh"},
        {"residual": {"layers": [convolution(15, 3)]}},
        {"concatenation": [[convolution(4, 1)], [convolution(4, 3)]]},
        "flatten",
        {"dense": "classes"},
    ],
}
"""Inception's: layers before, between and behind branches; one of these has nothing to train, one concatenation only two."""

THREADS = {"MXNET_ENGINE_TYPE": "ThreadedEnginePerDevice"}
TURNS = {"MXNET_ENGINE_TYPE": "NaiveEngine"}


@pytest.fixture(params=training_job.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("entry", "sizes", "towers", "environment"),
    [
        (HALVES, (10, 6), 2, THREADS),
        (HALVES, (3, 5, 6, 2), 2, TURNS),
        (MODULE, (8, 8), 2, TURNS),
        (MODULE, (4, 4, 4, 4), 4, THREADS),
        (MODULE, (2, 4, 6, 1, 1, 2), 3, THREADS),
        (HALVES, (2, 2, 4, 2, 4, 2), 2, THREADS),
    ],
)
def test_workers_with_branches_do_what_one_does_with_their_batches(
    tmp_path: Path, engine: str, entry: dict[str, Any], sizes: tuple[int, ...], towers: int, environment: dict[str, str]
) -> None:
    (alone,) = engine_workers.trained(tmp_path, engine, entry, (sum(sizes),), {})
    own = {"strategy": "towers", "towers": towers, "sign_messages": len(sizes) == 2}
    found = engine_workers.trained(tmp_path, engine, entry, sizes, own, **environment)
    engine_workers.assert_one_model(architecture("small", entry, 10), found, alone)


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_sends_what_is_estimated(tmp_path: Path, engine: str, workers: int) -> None:
    batch = 16 // workers
    found = engine_workers.trained(tmp_path, engine, HALVES, (batch,) * workers, {"strategy": "towers", "towers": 2})
    division = divided(architecture("small", HALVES, 10), 2, workers)
    assert division
    most = max(int(worker["sent"][1]) for worker in found)
    # small buffers travel whole, and a step has a few headers
    assert most == pytest.approx(STEPS * max(sent_bytes(division, batch)) + told_bytes(division), rel=0.02)


@pytest.mark.parametrize(("entry", "towers"), [(HALVES, 2), (MODULE, 2), (MODULE, 4)])
def test_what_crosses_is_what_is_reckoned_with(entry: dict[str, Any], towers: int) -> None:
    batch = 3
    division = divided(architecture("small", entry, 10), towers, towers)
    assert division

    def sent(links: Links) -> list[tuple[int, int]]:
        shares = Shares((batch,) * towers, links.rank)
        plan, counted = division.cut(shares), allreduce_job.counted(links)
        found = []
        for number in plan.crossings:
            before = len(counted)
            ends = plan.parts[number - 1].slice, plan.parts[number].slice
            over = crossing(*ends, Swap(links, 0), shares)
            made, taken = (np.zeros(form, np.float32) for form in plan.forms(number, batch))
            over.forth(made, taken)
            over.back(taken, made)
            found.append((sum(counted[before:]), batch * crossed_values(*ends, towers) * 4))
        return found

    for crossings in allreduce_job.together(sent, allreduce_job.seats(towers)):
        for there, expected in crossings:
            assert there == expected > 0


def program(
    engine: str, workers: int, directory: Path, *options: str, model: str = "inception_small", **environment: str
) -> list[list[training_job.Event]]:
    """Train on the embedded digits, 4 steps an epoch of 48 images; `weights.npz` is worker 0's."""
    shared = "--dataset=digits --limit=192 --learning-rate=0.02 --seed=5 --momentum=0.9 --kvstore=allreduce"
    given = [
        *shared.split(),
        f"--engine={engine}",
        f"--model={model}",
        f"--batch-size={48 // workers}",
        "--save-weights=weights.npz",
        *options,
    ]
    return training_job.run(workers, 0, given, directory, HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN, **environment)


def weights(directory: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(directory / "weights.npz") as found:
        return dict(found)


@pytest.mark.parametrize(("workers", "towers"), [(2, 2), (4, 2), (4, 4), (3, 3)])
def test_the_edge_net_on_several_workers_is_one_workers(tmp_path: Path, engine: str, workers: int, towers: int) -> None:
    ((alone),) = program(engine, 1, tmp_path, "--epochs=2", "--strategy=towers")  # alone there is nobody to share with
    expected = weights(tmp_path)
    ranks = program(engine, workers, tmp_path, "--epochs=2", "--strategy=towers", f"--towers={towers}")
    places = [events[0]["tower"] for events in ranks]
    assert [(place["number"], place["group"]) for place in places] == [
        (rank % towers + 1, rank // towers + 1) for rank in range(workers)
    ]
    trained = {name for place in places for name in place["layers"]}
    assert trained == {name.split("_")[0] for name in expected} - {"conv1", "dense1"}
    assert "tower" not in alone[0]
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    for name, value in weights(tmp_path).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=2e-5, err_msg=name)
    for mine, other in zip(alone, ranks[0], strict=True):
        if mine["event"] == wire.EPOCH:
            assert other["validation_loss"] == pytest.approx(mine["validation_loss"], rel=1e-3)
            assert other["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-3)
            assert other["wait_seconds"] > 0


@pytest.mark.parametrize("workers", [2, 4])
def test_a_run_in_towers_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, workers: int
) -> None:
    asked = ["--epochs=3", "--strategy=towers"]
    with monkeypatch.context() as patched:
        patched.setattr(training_job, "PROGRAM", Path(__file__).with_name("numbered_checkpoints.py"))
        through = program(engine, workers, tmp_path, *asked)
    rest = program(engine, workers, tmp_path, *asked, HARNESS_RESUME_FROM="{rank}-1.npz")
    for before, after in zip(through, rest, strict=True):
        assert [event["epoch"] for event in after if event["event"] == wire.EPOCH] == [2, 3]
        assert after[-1] == before[-1]


def test_the_two_halves_of_alexnet_train_on_two_workers(tmp_path: Path, engine: str) -> None:
    options = ["--dataset=patches", "--limit=32", "--batch-size=8", "--epochs=1", "--strategy=towers"]
    ranks = program(engine, 2, tmp_path, *options, model="alexnet_towers_32")
    assert [events[0]["tower"]["layers"][0] for events in ranks] == ["conv1", "conv3"]
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    assert weights(tmp_path).keys() == models.load("alexnet_towers_32", 10).shapes().keys()


@pytest.mark.mxnet
@pytest.mark.parametrize(
    ("asked", "workers", "remedy"),
    [
        ("--model=alexnet_32 --dataset=patches", "2", "use --strategy data"),
        ("--model=inception_small --towers=5", "5", "--strategy data"),
        ("--model=inception_small", "3", "use --towers 3"),
        ("--model=inception_small --lars=0.01", "1", "leave --lars out"),
        ("--model=inception_small --accumulate=2", "2", "--accumulate 1"),
    ],
)
def test_a_worker_ends_at_once_where_branches_cannot_be_shared(
    tmp_path: Path, asked: str, workers: str, remedy: str
) -> None:
    options = ["--dataset=digits", "--kvstore=allreduce", "--strategy=towers", *asked.split()]
    process = training_job.start(options, {wire.RANK: "0", wire.WORLD_SIZE: workers}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert remedy in training_job.events(output)[-1]["remedy"]


@pytest.mark.mxnet
def test_a_sweep_over_local_nodes_and_one_that_is_refused_before_it(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "runtime").symlink_to(Path(training_job.runtime_python()).parents[1])
    hosts = {f"t-{number}": {"ansible_host": f"127.0.51.{number}"} for number in (1, 2, 3)}
    write_inventory(tmp_path / "hosts.json", tmp_path / "node", hosts)

    def sweep(nodes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, "-m", "harness", "sweep", str(EXPERIMENTS / "quickstart.yaml"), "-i", "hosts.json", "-o",
                "results", "-n", nodes, "--set", "kvstore=allreduce", "--set", "strategy=towers", "--set",
                "model=inception_small", "--set", "epochs=1", "--set", "limit=256",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
            env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY), "HARNESS_CACHE_DIR": str(tmp_path / ".cache")},
        )  # fmt: skip

    done = sweep("1,2")
    assert done.returncode == 0, done.stdout + done.stderr
    (events,) = (tmp_path / "results" / "quickstart" / "latest").glob("trials/n02*/events.jsonl")
    ready = [json.loads(line) for line in events.open() if '"ready"' in line]
    assert sorted(event["tower"]["number"] for event in ready) == [1, 2]
    refused = sweep("3")
    assert refused.returncode == 2
    assert "use --towers 3" in refused.stdout + refused.stderr
