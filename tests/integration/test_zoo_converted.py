"""Gluon's model zoo as layers of ours, on real MXNet: the same nets, and they train like any other model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import training_job
from training.models.catalogue import ZOO

JOB = Path(__file__).with_name("zoo_job.py")
SIDES = {
    "alexnet": 63, "densenet121": 224, "mobilenet0_25": 32, "mobilenet_v2_0_25": 32, "resnet18_v1": 32, "resnet18_v2": 96,
    "resnet50_v1": 32, "resnet50_v2": 96, "squeezenet1_0": 224, "squeezenet1_1": 224, "vgg11": 32, "vgg11_bn": 32,
}  # fmt: skip
"""Of images, as small as they can be where Gluon's net is the same: time."""
TOKEN = {"HARNESS_TRIAL_TOKEN": "5e" * 16}

pytestmark = pytest.mark.mxnet


def said(*arguments: str) -> object:
    done = subprocess.run(
        [training_job.runtime_python(), str(JOB), *arguments],
        capture_output=True, text=True, timeout=training_job.LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_the_list_is_what_gluons_nets_are_converted_to() -> None:
    """If not: `python -m training.engines.mxnet.zoo > data/zoo.json` in `experiments`, with MXNet's Python."""
    assert json.loads(ZOO.read_text(encoding="utf-8")) == said()


def test_a_converted_net_gives_gluons_scores() -> None:
    found = said(json.dumps(SIDES))
    assert isinstance(found, dict)
    for name, (validating, training, scale) in found.items():
        assert max(validating, training) < 1e-4 * max(1.0, scale), name


def train(directory: Path, workers: int, servers: int, *options: str, **environment: str) -> list[training_job.Event]:
    asked = [
        "--model=zoo:mobilenet_v2_0_25", "--dataset=patches", "--limit=32", "--batch-size=8", "--epochs=2", *options,
    ]  # fmt: skip
    ranks = training_job.run(workers, servers, asked, directory, **TOKEN, **environment)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    return ranks[0]


@pytest.mark.parametrize(
    ("workers", "servers", "options"),
    [
        (2, 2, ["--kvstore=dist_sync"]),
        (2, 0, ["--kvstore=allreduce", "--strategy=pipeline", "--micro-batches=2", "--limit=64"]),
    ],
)
def test_a_net_of_the_zoo_trains_on_several_workers(
    tmp_path: Path, workers: int, servers: int, options: list[str]
) -> None:
    events = train(tmp_path, workers, servers, *options)
    assert events[0]["model"] == "zoo:mobilenet_v2_0_25"
    losses = [event["train_loss"] for event in events if event["event"] == "epoch"]
    assert np.isfinite(losses).all()


def test_a_continued_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    through = train(tmp_path, 2, 0, "--kvstore=allreduce")
    train(tmp_path, 2, 0, "--kvstore=allreduce", "--epochs=1", HARNESS_CHECKPOINT="kept.npz")
    rest = train(tmp_path, 2, 0, "--kvstore=allreduce", HARNESS_RESUME_FROM="kept.npz")
    assert rest[-1] == through[-1]


@pytest.mark.parametrize(
    ("model", "dataset", "message", "remedy"),
    [
        ("zoo:alexnet", "digits", "images of 8x8 are too small for zoo:alexnet", "images of 63x63 or larger"),
        ("zoo:resnet19_v1", "digits", "; perhaps zoo:resnet1", ""),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, model: str, dataset: str, message: str, remedy: str) -> None:
    process = training_job.start([f"--model={model}", f"--dataset={dataset}", "--kvstore=none"], {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    (event,) = training_job.events(output)
    assert message in event["message"]
    assert remedy in event["remedy"]
