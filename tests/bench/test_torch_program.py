"""The PyTorch baseline: refuses clearly where there is no PyTorch, and does the same mathematics where there is."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from training import program

from harness.contract import wire
from harness.paths import PROGRAMS

LIMIT_SECONDS = 300
has_torch = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(
    not has_torch, reason="PyTorch is not installed here; docs/how-to/pytorch.md says how nodes get it"
)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert program.main(["--engine", "torch", *arguments]) == 2
    captured = capsys.readouterr()
    event: dict[str, Any] = json.loads(captured.out)
    assert event["event"] == "error"
    assert event["remedy"] in captured.err
    return event


@pytest.mark.skipif(has_torch, reason="PyTorch is installed here")
def test_a_node_without_pytorch_says_so_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    event = refusal(capsys, "--dataset", "digits", "--kvstore", "allreduce")
    assert "no PyTorch" in event["message"]
    assert "docs/how-to/pytorch.md" in event["remedy"]


@needs_torch
@pytest.mark.parametrize("options", [["--kvstore", "dist_sync"], ["--wire", "bfloat16"], ["--synchronise-every", "10"]])
def test_what_pytorch_does_not_do_is_refused(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    refusal(capsys, "--dataset", "digits", "--kvstore", "allreduce", *options)


@needs_torch
def test_two_workers_compute_what_one_does_with_their_batches(tmp_path: Path) -> None:
    alone = train(tmp_path, workers=1, batch_size=32)
    together = train(tmp_path, workers=2, batch_size=16)
    assert together[0]["weights_sha256"] == together[1]["weights_sha256"]
    for key in ("train_loss", "validation_loss", "validation_accuracy"):
        assert together[0][key] == pytest.approx(alone[0][key], rel=1e-3), key


@needs_torch
def test_uneven_batches_weigh_by_images(tmp_path: Path) -> None:
    alone = train(tmp_path, workers=1, batch_size=32)
    together = train(tmp_path, workers=2, batch_size=16, HARNESS_BATCH_SIZES="10,22")
    assert together[0]["weights_sha256"] == together[1]["weights_sha256"]
    assert together[1]["images"] * 10 == together[0]["images"] * 22
    for key in ("train_loss", "validation_loss", "validation_accuracy"):
        assert together[0][key] == pytest.approx(alone[0][key], rel=1e-3), key


@needs_torch
def test_factors_of_gradients_do_what_one_worker_does(tmp_path: Path) -> None:
    alone = train(tmp_path, workers=1, batch_size=32)
    factors = ["--dense-gradients=factors"]
    together = train(tmp_path, workers=2, batch_size=16, options=factors, HARNESS_BATCH_SIZES="10,22")
    assert together[0]["factored"] == ["dense1", "dense2", "dense3"]
    assert together[0]["weights_sha256"] == together[1]["weights_sha256"]
    for key in ("train_loss", "validation_loss", "validation_accuracy"):
        assert together[0][key] == pytest.approx(alone[0][key], rel=1e-3), key


@needs_torch
def test_batches_in_pieces_do_what_whole_ones_do(tmp_path: Path) -> None:
    alone = train(tmp_path, workers=1, batch_size=32)
    together = train(tmp_path, workers=2, batch_size=16, options=["--accumulate=4"])
    assert together[0]["weights_sha256"] == together[1]["weights_sha256"]
    for key in ("train_loss", "validation_loss", "validation_accuracy"):
        assert together[0][key] == pytest.approx(alone[0][key], rel=1e-3), key


def train(
    directory: Path, workers: int, batch_size: int, options: Sequence[str] = (), **environment: str
) -> list[dict[str, Any]]:
    """Train on digits for one epoch; each rank's `ready`, `epoch` and `done` events, in one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        wire.ROOT_ADDRESS: "127.0.0.1",
        wire.ROOT_PORT: port,
        wire.WORLD_SIZE: str(workers),
        wire.NODE_ADDRESS: "127.0.0.1",
        wire.TRIAL_TOKEN: "t",
        **environment,
    }
    command = [sys.executable, str(PROGRAMS / "train.py"), "--engine=torch", "--dataset=digits", "--epochs=1"]
    command += ["--kvstore=allreduce", f"--batch-size={batch_size}", *options]
    ranks = [
        subprocess.Popen(
            command, cwd=directory, env={**common, wire.RANK: str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(workers)
    ]
    try:
        outputs = [rank.communicate(timeout=LIMIT_SECONDS)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * workers
    events = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    return [{k: v for event in mine if event["event"] != "progress" for k, v in event.items()} for mine in events]
