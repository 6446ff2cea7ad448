"""Real MXNet: a run that is continued from a checkpoint ends where one that ran through does."""

from __future__ import annotations

from pathlib import Path

import pytest
import training_job

pytestmark = pytest.mark.mxnet

EPOCHS = 4
CUT = 2  # epochs before the run is continued


def arguments(epochs: int, *more: str) -> list[str]:
    """A short run whose warm-up ends after the cut: the rate of a step must not depend on where the run began."""
    shared = [
        "--dataset=digits",
        "--limit=256",
        "--batch-size=16",
        "--warmup-steps=30",
        "--learning-rate=0.1",
        "--seed=5",
    ]
    return [f"--epochs={epochs}", *shared, *more]


@pytest.mark.parametrize(
    ("workers", "servers", "options"),
    [
        (2, 2, ["--kvstore=dist_sync"]),
        (3, 0, ["--kvstore=allreduce"]),
        (2, 0, ["--kvstore=allreduce", "--wire=bfloat16"]),
        (2, 0, ["--kvstore=allreduce", "--synchronise-every=3"]),
        (1, 0, ["--kvstore=none"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_a_continued_run_ends_with_the_same_bits(
    tmp_path: Path, workers: int, servers: int, options: list[str]
) -> None:
    token = {"HARNESS_TRIAL_TOKEN": "t"}
    through = training_job.run(workers, servers, arguments(EPOCHS, *options), tmp_path, **token)
    first = training_job.run(
        workers, servers, arguments(CUT, *options), tmp_path, HARNESS_CHECKPOINT="checkpoint.npz", **token
    )
    kept = [event["epoch"] for mine in first for event in mine if event["event"] == "checkpoint"]
    assert kept == [1, 2]
    rest = training_job.run(
        workers, servers, arguments(EPOCHS, *options), tmp_path, HARNESS_RESUME_FROM="checkpoint.npz", **token
    )
    for before, after in zip(through, rest, strict=True):
        assert [event["epoch"] for event in after if event["event"] == "epoch"] == [3, 4]
        assert after[-1] == before[-1]
        losses = [[event["train_loss"] for event in mine if event.get("epoch") == EPOCHS] for mine in (before, after)]
        assert losses[0] == losses[1]
