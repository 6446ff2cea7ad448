"""Synchronised batch statistics, on real engines and real sockets: workers train what one process does with all images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import engine_workers
import numpy as np
import pytest
import training_job
from training.models.catalogue import architecture

THREADS = {"MXNET_ENGINE_TYPE": "ThreadedEnginePerDevice"}
TURNS = {"MXNET_ENGINE_TYPE": "NaiveEngine"}
TOGETHER = {"batch_statistics": "synchronised"}

NET: dict[str, Any] = {
    "input": {"side": 8, "channels": 1},
    "layers": [
        {"normalisation": {"affine": False}},
        {"convolution": {"filters": 6, "kernel": 3, "padding": 1, "bias": False}},
        "normalisation",
        {"activation": "tanh"},
        {
            "residual": {
                "layers": [
                    {"convolution": {"filters": 8, "kernel": 3, "stride": 2, "padding": 1, "bias": False}},
                    "normalisation",
                    {"activation": "tanh"},
                    {"convolution": {"filters": 8, "kernel": 3, "padding": 1, "bias": False}},
                    "normalisation",
                ],
                "shortcut": [{"convolution": {"filters": 8, "kernel": 1, "stride": 2, "bias": False}}, "normalisation"],
            }
        },
        {"activation": "tanh"},
        {"concatenation": [[{"convolution": {"filters": 4, "kernel": 1}}, "normalisation"], ["normalisation"]]},
        {"pooling": {"kind": "average", "size": "all"}},
        {"dense": 12},
        "normalisation",
        {"activation": "tanh"},
        {"dense": "classes"},
    ],
}
"""A small ResNet and branches: layers that no order of computing keeps apart, so that workers could exchange unlike ones."""


@pytest.fixture(params=training_job.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("sizes", "own", "environment"),
    [((8, 8), {"sign_messages": True}, THREADS), ((3, 8, 5), {}, TURNS), ((6, 10), {}, THREADS)],
)
def test_workers_train_what_one_process_does(
    tmp_path: Path, engine: str, sizes: tuple[int, ...], own: dict[str, Any], environment: dict[str, str]
) -> None:
    (alone,) = engine_workers.trained(tmp_path, engine, NET, (sum(sizes),), {})
    found = engine_workers.trained(tmp_path, engine, NET, sizes, TOGETHER | own, **environment)
    model = architecture("small", NET, 10)
    for worker in found:
        for name in (*model.shapes(), *(array.name for array in model.statistics)):
            np.testing.assert_array_equal(worker[name], found[0][name], err_msg=name)
            np.testing.assert_allclose(worker[name], alone[name], rtol=1e-3, atol=5e-5, err_msg=name)
        np.testing.assert_allclose(worker["scores"], alone["scores"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(sum(worker["losses"] for worker in found), alone["losses"], rtol=1e-3)
    local = engine_workers.trained(tmp_path, engine, NET, sizes, {}, **environment)
    assert abs(local[0]["conv2_weight"] - alone["conv2_weight"]).max() > 1e-3, "local ones make another step"


def test_resnet20_makes_the_step_of_one_process(tmp_path: Path, engine: str) -> None:
    """One step: over several, what rounds differently flips an activation now and then."""
    options = [
        f"--engine={engine}", "--model=resnet20", "--dataset=patches", "--limit=16", "--epochs=1", "--learning-rate=0.01",
        "--no-validation", "--kvstore=allreduce",
    ]  # fmt: skip
    weights = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.npz"
        asked = [*options, f"--batch-size={16 // workers}", f"--save-weights={out}", "--batch-statistics=synchronised"]
        training_job.run(workers, 0, asked, tmp_path, HARNESS_TRIAL_TOKEN="5e" * 16)
        with np.load(out) as found:
            weights.append(dict(found))
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--model=lenet5", "--dataset=digits"], "lenet5 has no batch normalisation"),
        (["--kvstore=none"], "--batch-statistics means nothing with --kvstore none"),
        (["--accumulate=2"], "--batch-statistics means nothing with --accumulate 2"),
        (["--rule=average", "--meet-every=2"], "workers that do not meet in every step have no batch together"),
    ],
)
@pytest.mark.mxnet
def test_what_does_not_go_together_is_refused(tmp_path: Path, options: list[str], complaint: str) -> None:
    plain = ["--kvstore=allreduce", "--model=resnet20", "--dataset=patches"]
    asked = [*plain, "--batch-statistics=synchronised", *options]
    process = training_job.start(asked, {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert complaint in training_job.events(output)[-1]["message"]


def test_a_worker_that_is_lost_is_named(tmp_path: Path, engine: str) -> None:
    asked = [
        f"--engine={engine}", "--kvstore=allreduce", "--model=resnet20", "--dataset=patches", "--batch-size=8",
        "--no-validation", "--batch-statistics=synchronised",
    ]  # fmt: skip
    with training_job.trial(2, 0, asked, tmp_path, HARNESS_TRIAL_TOKEN="5e" * 16, **THREADS) as ranks:
        assert ranks[0].stdout
        next(line for line in ranks[0].stdout if '"progress"' in line)
        ranks[1].kill()
        output, _ = ranks[0].communicate(timeout=training_job.LIMIT_SECONDS)
    assert ranks[0].returncode == 2
    assert "lost the connection to worker 1" in training_job.events(output)[-1]["message"]
