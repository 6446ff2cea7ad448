"""Homes that learn, on real MXNet: only weights leave a home, and sharing them is worth something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_job
from training import datasets
from training.online.sharing import meeting_bytes

pytestmark = pytest.mark.mxnet

HOMES, VALUES, TICKS = 2, 61_706, 12
TOKEN = {"HARNESS_TRIAL_TOKEN": "t"}
COMMON = ["--dataset=digits", "--batch-size=16", "--judged=100", "--learning-rate=0.02", "--momentum=0.9"]


def homes(directory: Path, monkeypatch: pytest.MonkeyPatch, program: Path, *options: str) -> list[list[dict[str, Any]]]:
    monkeypatch.setattr(training_job, "PROGRAM", program)
    return training_job.run(HOMES, 0, [*COMMON, *options], directory, **TOKEN)


def test_nothing_but_weights_and_a_flag_leaves_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meetings account for every byte that a home sends; none of its images is among them, neither as bytes nor as floats."""
    program = Path(__file__).with_name("home_wire.py")
    homes(
        tmp_path, monkeypatch, program, "--windows=2", "--window-ticks=6", "--share-every=3", "--alarm=50", "--replay=1"
    )
    images = datasets.load("digits", Path("unused"), None).train.images
    rows = np.unique(images.reshape(-1, 64), axis=0)
    for rank in range(HOMES):
        lengths = json.loads((tmp_path / str(rank) / "sent.json").read_text())
        sent = (tmp_path / str(rank) / "sent.bin").read_bytes()
        weights = (TICKS // 3) * meeting_bytes(VALUES, HOMES)
        flags = TICKS * meeting_bytes(HOMES, HOMES)
        greeting = len(sent) - weights - flags  # who meets whom: addresses, ports, proofs of the token
        assert 0 <= greeting < 2000
        assert sum(length > 1000 for length in lengths) >= 2 * TICKS // 3
        assert not any(row.tobytes() in sent for row in rows)
        assert not any(row[:16].astype(np.float32).tobytes() in sent for row in rows if row[:16].any())


@pytest.mark.parametrize(
    "options",
    ["--strategy outer --outer-momentum 0.3", "--strategy outer --wire int8", "--personal-head", "--strategy alone"],
)
def test_what_homes_share_is_alike_and_the_rest_is_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    shared = [] if "alone" in options else ["--share-every=12"]
    program = training_job.PROGRAM.with_name("online.py")
    asked = ["--windows=4", "--window-ticks=12", "--changes=24:swap", *shared, *options.split()]
    ranks = homes(tmp_path, monkeypatch, program, *asked)
    assert (len({events[-1]["weights_sha256"] for events in ranks}) == 1) is ("outer" in options)
    for events in ranks:
        windows = [event for event in events if event["event"] == "window"]
        assert [event["tick"] for event in windows] == [12, 24, 36, 48]
        assert [event["changes"] for event in windows] == [[], [], ["swap"], ["swap"]]
        assert [event["old_accuracy"] is None for event in windows] == [True, True, False, False]
        assert windows[-1]["meetings"] == (0 if "alone" in options else 4)
        assert windows[1]["own_accuracy"] > windows[2]["own_accuracy"]  # tested before trained on: the change shows
        epochs = [event for event in events if event["event"] == "epoch"]
        assert [event["validation_accuracy"] for event in epochs] == [event["all_accuracy"] for event in windows]
        assert [event["train_accuracy"] for event in epochs] == [event["own_accuracy"] for event in windows]
