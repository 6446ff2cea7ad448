"""Rules, cadences and a worker's momentum under the training program: on real MXNet, and on PyTorch where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import training_job
from training_job import Event

TOKEN = {"HARNESS_TRIAL_TOKEN": "t"}
EPOCHS = 3
CUT = 1  # epochs before a run is continued

AVERAGE = "--rule average --meet-every 7 --momentum 0.9 --nesterov"
OUTER = "--rule outer --meet-every 3"
DELAYED = "--rule average --meet-every 7 --meet-delay 3 --momentum 0.9"
LATER = "--rule outer --cadence post_local --meet-always-for 2 --meet-every 4 --meet-delay 2"
EASGD = "--rule easgd --cadence epoch --momentum 0.5"
ADMM = "--rule admm --meet-every 3 --rho 0.05"
SGD = "--rule sgd --momentum 0.9"


def arguments(epochs: int, *more: str, batch: int = 16) -> list[str]:
    """A short run on the embedded digits: 8 steps an epoch with two workers."""
    shared = "--dataset=digits --limit=256 --warmup-steps=6 --learning-rate=0.05 --seed=5 --kvstore=allreduce"
    return [f"--epochs={epochs}", f"--batch-size={batch}", *shared.split(), *" ".join(more).split()]


def run(workers: int, options: list[str], directory: Path, **environment: str) -> list[list[Event]]:
    return training_job.run(workers, 0, options, directory, **TOKEN, **environment)


def of(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "rule",
    [AVERAGE, OUTER, DELAYED, LATER, EASGD, ADMM, SGD],
    ids=["average", "outer", "delayed", "delayed after steps in common", "easgd", "admm", "sgd"],
)
def test_a_rules_shared_values_are_judged_kept_and_continued(
    tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers differ within the run where the rule or the cadence says so; what is said of them does not."""
    with monkeypatch.context() as patched:
        patched.setattr(training_job, "PROGRAM", Path(__file__).with_name("numbered_checkpoints.py"))
        through = run(2, arguments(EPOCHS, rule), tmp_path)
    assert len({events[-1]["weights_sha256"] for events in through}) == 1
    for epoch in range(EPOCHS):
        assert len({of(events, "epoch")[epoch]["validation_loss"] for events in through}) == 1
    assert [[event["shared"] for event in of(events, "checkpoint")] for events in through] == [[False] * EPOCHS] * 2
    kept = [dict(np.load(tmp_path / f"{rank}-{CUT}.npz")) for rank in (0, 1)]
    np.testing.assert_array_equal(kept[0]["dense1_weight"], kept[1]["dense1_weight"])
    rest = run(2, arguments(EPOCHS, rule), tmp_path, HARNESS_RESUME_FROM=f"{{rank}}-{CUT}.npz")
    for before, after in zip(through, rest, strict=True):
        assert [event["epoch"] for event in of(after, "epoch")] == [2, 3]
        assert after[-1] == before[-1]
        for name in ("train_loss", "validation_loss"):
            assert of(after, "epoch")[-1][name] == of(before, "epoch")[-1][name]


@pytest.mark.mxnet
def test_alone_a_worker_with_momentum_steps_as_without_a_store(tmp_path: Path) -> None:
    chosen = "--momentum 0.9 --nesterov --weight-decay 0.001 --lars 0.5"
    ((*_, average),) = run(1, arguments(1, "--rule average --meet-every 3", chosen), tmp_path)
    ((*_, none),) = run(1, [*arguments(1, chosen), "--kvstore=none"], tmp_path)
    ((*_, plain),) = run(1, [*arguments(1), "--kvstore=none"], tmp_path)
    assert average["weights_sha256"] == none["weights_sha256"] != plain["weights_sha256"]


@pytest.mark.mxnet
def test_servers_and_peers_take_the_same_steps_with_momentum(tmp_path: Path) -> None:
    """Sums of two have the same bits whoever adds them."""
    chosen = "--momentum 0.9 --nesterov"
    peers = run(2, arguments(1, chosen, "--save-weights peers.npz"), tmp_path)
    servers = [*arguments(1, chosen, "--save-weights servers.npz"), "--kvstore=dist_sync"]
    assert len({events[-1]["weights_sha256"] for events in training_job.run(2, 1, servers, tmp_path)}) == 1
    assert len({events[-1]["weights_sha256"] for events in peers}) == 1
    with np.load(tmp_path / "peers.npz") as ours, np.load(tmp_path / "servers.npz") as theirs:
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "options",
    ["--push-every 1", "--push-every 3 --fetch-every 2 --learning-rate 0.2", "--adagrad --learning-rate 0.005"],
)
def test_downpour_ends_with_the_servers_values_everywhere(tmp_path: Path, options: str) -> None:
    asked = [*arguments(3, "--rule downpour", options), "--kvstore=dist_async", "--limit=1200"]
    ranks = training_job.run(2, 2, asked, tmp_path)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    epochs = [of(events, "epoch") for events in ranks]
    assert [event["train_accuracy"] for event in epochs[0]] == [event["train_accuracy"] for event in epochs[1]]
    assert epochs[0][-1]["train_loss"] < epochs[0][0]["train_loss"] / 1.5
    assert epochs[0][-1]["validation_accuracy"] > 0.6


@pytest.mark.mxnet
def test_federated_workers_have_images_of_their_own(tmp_path: Path) -> None:
    """With one label a worker, averages once an epoch; the rest sits out of training and is what is validated."""
    asked = arguments(
        1, "--rule average --cadence epoch --shards by_label --label-pieces 1 --holdout 64 --no-validation"
    )
    ranks = run(2, asked, tmp_path)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    assert of(ranks[0], "epoch")[0]["steps"] == (256 - 64) // 32


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
@pytest.mark.parametrize("rule", ["--rule average --meet-every 3 --momentum 0.9", ADMM, "--momentum 0.9"])
def test_rules_train_with_pytorch_too(tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_job, "runtime_python", lambda: sys.executable)
    ranks = run(2, arguments(2, "--engine torch", rule), tmp_path)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    assert len({event["validation_loss"] for events in ranks for event in of(events, "epoch")[:1]}) == 1
