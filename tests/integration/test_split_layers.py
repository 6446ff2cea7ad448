"""Dense layers split over workers, on loopback: the exchanges alone, and training on real engines against one process."""

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
from training.kvstores.allreduce.links import Links
from training.models import DenseLayer
from training.models.catalogue import architecture
from training.sharding import Shares
from training.split.choice import input_bytes, output_bytes
from training.split.crossings import Crossing, Swap, crossing
from training.split.parts import Slice, columns_of

from harness.contract import wire
from harness.paths import EXPERIMENTS, REPOSITORY

LAYER = DenseLayer("dense1", 6, 7, ("dense1_weight", "dense1_bias"))
NEXT = DenseLayer("dense2", 7, 5, ("dense2_weight", "dense2_bias"))
SIZES = [(4, 4), (3, 9, 4), (6, 6, 6, 6, 1)]


def at_ends(links: Links, sizes: tuple[int, ...], ends: str) -> tuple[Crossing, tuple[int, int], tuple[int, int]]:
    """A crossing, and the forms of what is before and behind it."""
    images, own = sum(sizes), sizes[links.rank]

    def of(layer: DenseLayer) -> Slice:
        part = columns_of(layer.units, links.workers)[links.rank]
        return Slice(layer, part.start, part.stop, images)

    before, after = (of(LAYER) if ends[0] == "s" else None), (of(NEXT) if ends[1] == "s" else None)
    made = (images, before.units) if before else (own, NEXT.inputs)
    taken = (images, NEXT.inputs) if after else (own, LAYER.units)
    return crossing(before, after, Swap(links, 0), Shares(sizes, links.rank)), made, taken


def drawn(form: tuple[int, int], *seed: int) -> np.ndarray[Any, Any]:
    return np.random.RandomState(seed).standard_normal(form).astype(np.float32)


@pytest.mark.parametrize("ends", ["ws", "ss", "sw"])
@pytest.mark.parametrize("sizes", SIZES)
def test_what_is_put_together_is_the_whole_and_gradients_go_the_same_way_back(
    sizes: tuple[int, ...], ends: str
) -> None:
    """All workers' arrays as one vector, `forth` is a matrix and `back` is that one transposed."""

    def cross(links: Links) -> tuple[np.ndarray[Any, Any], ...]:
        over, *forms = at_ends(links, sizes, ends)
        made, gradient = (drawn(form, number, links.rank) for number, form in enumerate(forms))
        taken, back = (np.empty(form, np.float32) for form in reversed(forms))
        over.forth(made, taken)
        over.back(gradient, back)
        return made, taken, gradient, back

    found = allreduce_job.together(cross, allreduce_job.seats(len(sizes)))
    rows = np.cumsum([0, *sizes])
    columns = columns_of(LAYER.units, len(sizes))
    forwards = backwards = 0.0
    for rank, (made, taken, gradient, back) in enumerate(found):
        forwards += float((taken.astype(np.float64) * gradient).sum())
        backwards += float((made.astype(np.float64) * back).sum())
        own = slice(rows[rank], rows[rank + 1])
        if ends == "ws":
            whole = np.concatenate([one[0] for one in found])
            np.testing.assert_array_equal(taken, whole)
        else:
            whole = np.concatenate([one[0] for one in found], axis=1)
            np.testing.assert_array_equal(taken, whole if ends == "ss" else whole[own])
        if ends == "sw":
            np.testing.assert_array_equal(back, np.concatenate([one[2] for one in found])[:, columns[rank]])
    assert forwards == pytest.approx(backwards, rel=1e-5)


@pytest.mark.parametrize(("ends", "expected"), [("ws", input_bytes), ("ss", input_bytes), ("sw", output_bytes)])
def test_bytes_are_what_the_choice_reckons_with(ends: str, expected: Any) -> None:
    sizes = (6, 6, 6)

    def sent(links: Links) -> int:
        counted = allreduce_job.counted(links)
        over, *forms = at_ends(links, sizes, ends)
        made, taken = (np.zeros(form, np.float32) for form in forms)
        over.forth(made, taken)
        over.back(taken, made)
        return sum(counted)

    found = allreduce_job.together(sent, allreduce_job.seats(3))
    assert sum(found) / 3 == pytest.approx(expected(LAYER if ends == "sw" else NEXT, 3, sum(sizes)))


SMALL = {
    "input": {"side": 8, "channels": 1},
    "layers": [
        {"convolution": {"filters": 4, "kernel": 3, "padding": 1}},
        {"activation": "relu"},
        {"pooling": {"kind": "max", "size": 2}},
        {"convolution": {"filters": 6, "kernel": 3, "padding": 1}},
        {"activation": "tanh"},
        {"dense": 24},
        {"activation": "relu"},
        {"dense": {"units": 17, "bias": False}},
        {"activation": "tanh"},
        {"residual": {"layers": [{"dense": 17}]}},
        {"dense": 12},
        {"activation": "tanh"},
        {"dense": "classes"},
    ],
}
"""AlexNet's shape, without dropout, and with a layer between that is not split."""


@pytest.fixture(params=training_job.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("sizes", "signed"), [((8, 8), True), ((3, 8, 4), False), ((4, 4, 4, 4), False)])
def test_workers_with_slices_do_what_one_does_with_their_batches(
    tmp_path: Path, engine: str, sizes: tuple[int, ...], signed: bool
) -> None:
    (alone,) = engine_workers.trained(tmp_path, engine, SMALL, (sum(sizes),), {})
    own = {"strategy": "split", "split_layers": "all", "sign_messages": signed}
    found = engine_workers.trained(tmp_path, engine, SMALL, sizes, own, MXNET_ENGINE_TYPE="ThreadedEnginePerDevice")
    engine_workers.assert_one_model(architecture("small", SMALL, 10), found, alone)


def program(
    engine: str, workers: int, directory: Path, *options: str, **environment: str
) -> list[list[training_job.Event]]:
    """Train LeNet-5 on the embedded digits, 8 steps an epoch of 24 images; `weights.npz` is worker 0's."""
    shared = "--dataset=digits --limit=192 --learning-rate=0.05 --seed=5 --momentum=0.9 --kvstore=allreduce"
    given = [f"--engine={engine}", f"--batch-size={24 // workers}", "--save-weights=weights.npz", *shared.split()]
    given += options
    return training_job.run(workers, 0, given, directory, HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN, **environment)


def weights(directory: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(directory / "weights.npz") as found:
        return dict(found)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_lenet_5_split_over_workers_is_one_workers_lenet_5(tmp_path: Path, engine: str, workers: int) -> None:
    ((alone),) = program(engine, 1, tmp_path, "--epochs=2", "--strategy=split")  # alone there is nobody to split with
    expected = weights(tmp_path)
    ranks = program(engine, workers, tmp_path, "--epochs=2", "--strategy=split", "--split-layers=all")
    assert {tuple(events[0]["split"]) for events in ranks} == {("dense1", "dense2", "dense3")}
    assert "split" not in alone[0]
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    for name, value in weights(tmp_path).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=2e-5, err_msg=name)
    for mine, other in zip(alone, ranks[0], strict=True):
        if mine["event"] == wire.EPOCH:
            assert other["validation_loss"] == pytest.approx(mine["validation_loss"], rel=1e-3)
            assert other["wait_seconds"] > 0


def test_a_split_run_goes_on_from_its_checkpoint(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["--epochs=3", "--strategy=split", "--split-layers=all"]
    with monkeypatch.context() as patched:
        patched.setattr(training_job, "PROGRAM", Path(__file__).with_name("numbered_checkpoints.py"))
        through = program(engine, 2, tmp_path, *asked)
    rest = program(engine, 2, tmp_path, *asked, HARNESS_RESUME_FROM="{rank}-1.npz")
    for before, after in zip(through, rest, strict=True):
        assert [event["epoch"] for event in after if event["event"] == wire.EPOCH] == [2, 3]
        assert after[-1] == before[-1]


@pytest.mark.mxnet
def test_workers_that_begin_with_other_values_are_named(tmp_path: Path) -> None:
    port = allreduce_job.free_ports(2)
    ranks = []
    for rank in range(2):
        seat = {
            wire.RANK: str(rank), wire.WORLD_SIZE: "2", wire.ROOT_ADDRESS: "127.0.0.1", wire.ROOT_PORT: str(port),
            wire.NODE_ADDRESS: f"127.0.0.{rank + 1}", wire.TRIAL_TOKEN: allreduce_job.TOKEN,
        }  # fmt: skip
        options = [
            "--dataset=digits",
            "--kvstore=allreduce",
            "--strategy=split",
            "--split-layers=all",
            f"--seed={rank}",
        ]
        ranks.append(training_job.start(options, seat, tmp_path))
    for process in ranks:
        output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
        assert process.returncode == 2
        assert "begin with other values" in training_job.events(output)[-1]["message"]


def harness(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "harness", *arguments, "-i", str(directory / "hosts.json"), "--set", "kvstore=allreduce",
            "--set", "model=lenet",
        ],
        cwd=directory, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY), "HARNESS_CACHE_DIR": str(directory / ".cache")},
    )  # fmt: skip


@pytest.mark.mxnet
def test_a_sweep_over_both_strategies_on_local_nodes(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "runtime").symlink_to(Path(training_job.runtime_python()).parents[1])
    hosts = {f"s-{number}": {"ansible_host": f"127.0.47.{number}"} for number in (1, 2)}
    write_inventory(tmp_path / "hosts.json", tmp_path / "node", hosts)
    quickstart, results = str(EXPERIMENTS / "quickstart.yaml"), str(tmp_path / "results")
    done = harness(
        tmp_path, "sweep", quickstart, "-o", results, "-n", "1,2", "--set", "strategy=data,split", "--set", "epochs=1",
        "--set", "batch_size=8", "--set", "limit=256", "--set", "dense_gradients=sum",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "results" / "quickstart" / "latest"
    said = [[json.loads(line) for line in path.open()] for path in run.glob("trials/n02*/events.jsonl")]
    split = [{tuple(event.get("split", ())) for event in each if event["event"] == wire.READY} for each in said]
    assert sorted(map(sorted, split)) == [[()], [("dense1", "dense2")]]
    assert [len({event["weights_sha256"] for event in each if event["event"] == wire.DONE}) for each in said] == [1, 1]
    refused = harness(tmp_path, "plan", quickstart, "-n", "2", "--set", "strategy=split", "--set", "rule=average")
    assert refused.returncode == 2
    assert "strategy=data" in refused.stdout + refused.stderr


@pytest.mark.mxnet
@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("--model=squeezenet_32 --dataset=patches --batch-size=8", "use --strategy data"),
        ("--model=lenet --dataset=digits --batch-size=256", "--split-layers all"),
        ("--model=lenet5 --dataset=digits --split-layers=all", "at most 10 nodes"),
        ("--model=lenet5 --dataset=digits --lars=0.01 --split-layers=all", "leave --lars out"),
    ],
)
def test_a_worker_ends_at_once_where_nothing_can_be_split(tmp_path: Path, asked: str, remedy: str) -> None:
    workers = "11" if "at most" in remedy else "2" if "--lars" not in asked else "1"
    options = ["--kvstore=allreduce", "--strategy=split", *asked.split()]
    process = training_job.start(options, {wire.RANK: "0", wire.WORLD_SIZE: workers}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert remedy in training_job.events(output)[-1]["remedy"]
