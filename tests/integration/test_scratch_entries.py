"""A model and a data set of one's own: an entry each in a copy of the experiments, nothing else touched. Real MXNet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import training_job
import yaml

from harness.paths import EXPERIMENTS

pytestmark = pytest.mark.mxnet

MODEL = {
    "input": {"side": 8, "channels": 3},
    "layers": [
        {"convolution": {"filters": 8, "kernel": 3, "padding": 1, "bias": False}},
        "normalisation",
        {"activation": "relu"},
        {"residual": {"layers": [{"convolution": {"filters": 8, "kernel": 3, "padding": 1}}, "normalisation"]}},
        {"activation": "relu"},
        {"dropout": 0.1},
        {"dense": "classes"},
    ],
}
DATASET = {"reader": "npz", "images": {"height": 8, "width": 8, "channels": 3}, "classes": 4, "deviation": 64.0}
EPOCHS = 3


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options for the model and the data set that were added: images whose brightest quarter is their class."""
    copy = tmp_path / "experiments"
    shutil.copytree(EXPERIMENTS, copy)
    monkeypatch.setattr(training_job, "PROGRAM", copy / "programs" / "train.py")
    for file, entry in (("models.yaml", {"mine": MODEL}), ("datasets.yaml", {"quarters": DATASET})):
        with (copy / "data" / file).open("a", encoding="utf-8") as stream:
            stream.write("\n" + yaml.safe_dump(entry))
    random = np.random.RandomState(0)
    labels = random.randint(0, 4, 320)
    images = random.randint(0, 200, (320, 8, 8, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 55
    (tmp_path / "quarters").mkdir()
    np.savez(
        tmp_path / "quarters" / "quarters.npz",
        x_train=images[:256], y_train=labels[:256], x_test=images[256:], y_test=labels[256:],
    )  # fmt: skip
    chosen = f"--model mine --dataset quarters --data-dir {tmp_path} --batch-size 8 --learning-rate 0.02"
    return [*chosen.split(), f"--epochs={EPOCHS}"]


@pytest.mark.parametrize(("kvstore", "servers"), [("allreduce", 0), ("dist_sync", 1)])
def test_workers_train_it_and_a_continued_run_ends_with_the_same_bits(
    tmp_path: Path, arguments: list[str], kvstore: str, servers: int
) -> None:
    options = [*arguments, f"--kvstore={kvstore}"]
    shared = {"HARNESS_TRIAL_TOKEN": "t"}
    through = training_job.run(2, servers, options, tmp_path, **shared)
    assert len({events[-1]["weights_sha256"] for events in through}) == 1
    epochs = [event for event in through[0] if event["event"] == "epoch"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert epochs[-1]["validation_accuracy"] > 0.8
    checkpoint = {"HARNESS_CHECKPOINT": "checkpoint.npz", **shared}
    training_job.run(2, servers, [*options, "--epochs=1"], tmp_path, **checkpoint)
    rest = training_job.run(2, servers, options, tmp_path, HARNESS_RESUME_FROM="checkpoint.npz", **shared)
    assert [events[-1] for events in rest] == [events[-1] for events in through]


def test_a_model_of_other_images_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    process = training_job.start([*arguments, "--model=lenet5", "--kvstore=none"], {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    (event,) = [json.loads(line) for line in output.splitlines()]
    assert "images have channels: 3, the model takes: 1" in event["message"]
