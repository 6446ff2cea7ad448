"""What a run directory keeps of environment variables."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from launch_parts import CLUSTER

from harness.experiment import Experiment, validate
from harness.manifest import experiment_digest, make_manifest
from harness.preflight import Preflight
from harness.redaction import HIDDEN, kept, kept_words


def declared(token: str = "hush", **environment: Any) -> Experiment:  # noqa: S107
    variants = {"own": {"environment": {"DB_PASSWORD": token, "BOUND": "2"}}}
    document = {"name": "e", "program": "train.py", "environment": {"API_TOKEN": token, **environment}}
    return validate({**document, "variants": variants}, "test")


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "AWS_SECRET", "Password", "SSH_KEY_FILE", "AWS_ACCESS_KEY_ID", "apikey", "CREDENTIALS"]
)
def test_a_secret_is_kept_by_name_alone(name: str) -> None:
    assert kept({name: "hush"}) == {name: HIDDEN}


def test_what_was_measured_is_kept() -> None:
    measured = {"MXNET_KVSTORE_BIGARRAY_BOUND": "10000", "MXNET_ENGINE_TYPE": "NaiveEngine", "OMP_NUM_THREADS": "1"}
    assert kept(measured) == measured


@pytest.mark.parametrize("before", ["", "-e", "--env=", "-qe"])
def test_a_secret_on_the_command_line_is_not_kept(before: str) -> None:
    words = ["sweep", "--set", "epochs=1", f"{before}API_TOKEN=hush=hush", f"{before}BOUND=1", "--retries=2"]
    assert kept_words(words) == [*words[:3], f"{before}API_TOKEN={HIDDEN}", *words[4:]]


def test_no_secret_is_in_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harness", "sweep", "--env", "API_TOKEN=hush"])
    manifest = make_manifest(declared(BOUND="1"), [], CLUSTER, Preflight(), "code", datetime.now(UTC))
    assert "hush" not in json.dumps(manifest)
    assert manifest["experiment"]["environment"] == {"API_TOKEN": HIDDEN, "BOUND": "1"}
    assert manifest["experiment"]["variants"]["own"]["environment"] == {"DB_PASSWORD": HIDDEN, "BOUND": "2"}


def test_what_is_kept_tells_experiments_apart() -> None:
    assert experiment_digest(declared()) == experiment_digest(declared("another"))
    assert experiment_digest(declared(BOUND="1")) != experiment_digest(declared(BOUND="2"))
