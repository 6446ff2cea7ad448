"""The allreduce store under the training program, on real MXNet."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import allreduce_job
import numpy as np
import pytest
import training_job
from training_job import Event

from harness.contract import wire

pytestmark = pytest.mark.mxnet


def options(batch: int, *more: str) -> list[str]:
    common = "--dataset digits --limit 245 --kvstore allreduce --warmup-steps 5"
    return [*common.split(), "--batch-size", str(batch), *more]


def environment(workers: int, rank: int, port: int, token: str = allreduce_job.TOKEN) -> dict[str, str]:
    return {
        wire.RANK: str(rank),
        wire.WORLD_SIZE: str(workers),
        wire.ROOT_ADDRESS: "127.0.0.1",
        wire.ROOT_PORT: str(port),
        wire.NODE_ADDRESS: f"127.0.0.{rank + 1}",
        wire.TRIAL_TOKEN: token,
    }


def run(workers: int, arguments: list[str], directory: Path) -> list[list[Event]]:
    token = allreduce_job.TOKEN
    return training_job.run(workers, 0, arguments, directory, HARNESS_TRIAL_TOKEN=token)


# the rate of the model with maximum pooling is low: rounding decides between equal pixels, and a high rate makes much of it
@pytest.mark.parametrize(("model", "rate"), [("lenet5", "0.1"), ("lenet", "0.01")])
def test_workers_together_do_what_one_does_with_their_batches(tmp_path: Path, model: str, rate: str) -> None:
    chosen = ["--model", model, "--learning-rate", rate, "--epochs", "2"]
    weights = []
    for workers, batch in ((1, 24), (2, 12), (3, 8)):
        file = tmp_path / f"{workers}.npz"
        ranks = run(workers, options(batch, *chosen, "--save-weights", str(file)), tmp_path)
        assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
        assert len({events[-2]["validation_loss"] for events in ranks}) == 1
        with np.load(file) as found:
            weights.append(dict(found))
    for other in weights[1:]:
        for name, value in weights[0].items():
            np.testing.assert_allclose(other[name], value, rtol=1e-3, atol=2e-5, err_msg=name)


def test_alone_it_is_bit_for_bit_what_no_store_computes(tmp_path: Path) -> None:
    ((alone),) = run(1, options(24, "--epochs", "2"), tmp_path)
    ((none),) = run(1, [*options(24, "--epochs", "2"), "--kvstore", "none"], tmp_path)
    assert alone[-1]["weights_sha256"] == none[-1]["weights_sha256"]


def test_signatures_change_nothing(tmp_path: Path) -> None:
    plain, signed = (
        run(2, options(12, "--epochs", "1", "--dense-gradients", "factors", *more), tmp_path)
        for more in ([], ["--sign-messages"])
    )
    assert len({events[-1]["weights_sha256"] for events in plain + signed}) == 1


def test_half_precision_on_the_wire_rounds_and_no_more(tmp_path: Path) -> None:
    exact, rounded = (
        run(2, options(12, "--epochs", "2", "--wire", wire), tmp_path) for wire in ("float32", "bfloat16")
    )
    assert len({events[-1]["weights_sha256"] for events in rounded}) == 1
    assert rounded[0][-1]["weights_sha256"] != exact[0][-1]["weights_sha256"]
    assert rounded[0][-2]["validation_loss"] == pytest.approx(exact[0][-2]["validation_loss"], rel=1e-3)


def test_averaging_now_and_then_ends_every_epoch_with_one_model(tmp_path: Path) -> None:
    seldom = run(
        2, options(12, "--epochs", "1", "--synchronise-every", "4"), tmp_path
    )  # 10 steps: 4, 4 and a rest of 2
    assert len({events[-1]["weights_sha256"] for events in seldom}) == 1
    always = run(2, options(12, "--epochs", "1"), tmp_path)
    assert seldom[0][-1]["weights_sha256"] != always[0][-1]["weights_sha256"]
    assert seldom[0][-2]["validation_loss"] == pytest.approx(always[0][-2]["validation_loss"], rel=0.2)


@pytest.mark.parametrize(
    "asked", ["--kvstore none --wire bfloat16", "--kvstore allreduce --wire bfloat16 --synchronise-every 2"]
)
def test_what_a_store_cannot_do_is_refused(tmp_path: Path, asked: str) -> None:
    process = training_job.start([*options(8), *asked.split()], {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert training_job.events(output)[-1]["event"] == "error"


def test_gluons_trainer_trains_over_the_plug_in(tmp_path: Path) -> None:
    found = []
    for workers in (1, 2, 3):
        port = allreduce_job.free_ports(workers)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "HARNESS_"))}
        ranks = [
            subprocess.Popen(
                [training_job.runtime_python(), str(Path(__file__).with_name("allreduce_gluon.py"))],
                env={**own, "OMP_NUM_THREADS": "1", **environment(workers, rank, port)},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(workers)
        ]
        outputs = [rank.communicate(timeout=training_job.LIMIT_SECONDS)[0].strip().splitlines()[-1] for rank in ranks]
        assert len(set(outputs)) == 1
        found.append([float(number) for number in outputs[0].split()])
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-5)


def test_a_killed_worker_ends_all_with_an_error_within_seconds(tmp_path: Path) -> None:
    port = allreduce_job.free_ports(3)
    long = options(8, "--epochs", "100000", "--no-validation")
    ranks = [training_job.start(long, environment(3, rank, port), tmp_path) for rank in range(3)]
    try:
        _await_training(ranks[1])
        os.kill(ranks[1].pid, signal.SIGKILL)
        killed = time.monotonic()
        for rank in (0, 2):
            output, errors = ranks[rank].communicate(timeout=30)
            assert ranks[rank].returncode == 2, errors
            (*_, last) = training_job.events(output)
            assert last["event"] == "error"
            assert "lost the connection to worker" in last["message"]
        assert time.monotonic() - killed < 20
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def test_workers_with_other_models_are_named(tmp_path: Path) -> None:
    port = allreduce_job.free_ports(2)
    ranks = [
        training_job.start(options(8, "--model", model), environment(2, rank, port), tmp_path)
        for rank, model in enumerate(("lenet5", "lenet"))
    ]
    for process in ranks:
        output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
        assert process.returncode == 2
        assert "train another model" in training_job.events(output)[-1]["message"]


def _await_training(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        if '"progress"' in line:
            return
    raise AssertionError("never trained")
