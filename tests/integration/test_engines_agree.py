"""Models on both engines: the same losses from the same first values."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import training_job
from training import models
from training.models.catalogue import MODELS
from training.yaml_file import read_mapping

JOB = Path(__file__).with_name("engine_job.py")
ENTRIES = read_mapping(MODELS)
STEPS = 20
SMALL_STEPS = {"rate": 1e-4, "images": 16}
"""Where a batch is normalised or steps overshoot, what rounds differently grows with every step: less with smaller ones."""
HELD: list[Any] = [
    ("lenet5", {}),
    ("lenet", {}),
    ("inception_small", {}),
    ("squeezenet_32", {}),
    ("resnet20", SMALL_STEPS),
    *(
        pytest.param(model, options, marks=pytest.mark.long)
        for model, options in (
            ("squeezenet", {}),
            ("resnet32", SMALL_STEPS),
            ("resnet18_32", SMALL_STEPS),
            ("vgg11", SMALL_STEPS),
            ("alexnet_32", SMALL_STEPS),
            ("alexnet_towers_32", SMALL_STEPS),
        )
    ),
]
"""After such steps ResNet-18 and the AlexNets for 224x224 differ by 0.001 to 0.005, MobileNetV2 by 0.08: not among them."""


def without_dropout(value: Any) -> Any:
    """A part of an entry in which nothing is dropped: each engine draws by itself."""
    if isinstance(value, dict):
        return {key: 0 if key == "dropout" else without_dropout(part) for key, part in value.items()}
    return [without_dropout(part) for part in value] if isinstance(value, list) else value


def losses(directory: Path, engine: str, model: str, rate: float = 0.01, images: int = 4) -> np.ndarray[Any, Any]:
    """Each step's mean over its images."""
    grey = models.load(model, 10).channels == 1
    job = {
        "engine": engine, "entry": without_dropout(ENTRIES[model]), "dataset": "digits" if grey else "patches",
        "steps": STEPS, "seed": 3, "rate": rate, "sizes": [images], "out": str(directory / "out.npz"),
    }  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "HARNESS_"))}
    done = subprocess.run(
        [training_job.python_of(engine), str(JOB), json.dumps(job)], env={**own, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    with np.load(directory / "out.npz") as found:
        return np.asarray(found["losses"][:, 0] / images)


@pytest.mark.mxnet
@pytest.mark.parametrize(("model", "options"), HELD)
def test_twenty_steps_of_a_model_are_pytorchs(tmp_path: Path, model: str, options: dict[str, Any]) -> None:
    expected, found = (losses(tmp_path, engine, model, **options) for engine in ("torch", "mxnet"))
    assert expected[-1] != expected[0]
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)
