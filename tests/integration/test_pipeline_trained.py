"""Workers in a pipeline, on real engines and real sockets: the same weights as one process with all the images."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import training_job
from local_nodes import write_inventory

from harness.paths import EXPERIMENTS, REPOSITORY

BATCH = 48
STEPS = 4
THREADS = {"MXNET_ENGINE_TYPE": "ThreadedEnginePerDevice"}
TURNS = {"MXNET_ENGINE_TYPE": "NaiveEngine"}
TOKEN = {"HARNESS_TRIAL_TOKEN": "5e" * 16}

Ranks = list[list[training_job.Event]]


def train(
    directory: Path,
    workers: int,
    *options: str,
    engine: str,
    model: str = "lenet5",
    images: int = BATCH,
    **environment: str,
) -> tuple[dict[str, np.ndarray], Ranks]:
    """Some steps over so many images each, shared by so many workers; worker 0's weights, and all events."""
    out = directory / f"weights-{workers}.npz"
    arguments = [
        f"--engine={engine}", "--dataset=digits", f"--limit={STEPS * images}", f"--model={model}",
        f"--batch-size={images // workers}", "--learning-rate=0.1", f"--save-weights={out}", *options,
    ]  # fmt: skip
    if not any(each.startswith("--epochs=") for each in options):
        arguments.append("--epochs=1")
    ranks = training_job.run(workers, 0, arguments, directory, **TOKEN, **environment)
    with np.load(out) as found:
        return dict(found), ranks


def pipeline(
    directory: Path, workers: int, stages: int, *options: str, **more: str | int
) -> tuple[dict[str, np.ndarray], Ranks]:
    options = ("--kvstore=allreduce", "--strategy=pipeline", f"--stages={stages}", "--micro-batches=4", *options)
    return train(directory, workers, *options, **more)  # type: ignore[arg-type]


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=2e-5, err_msg=name)


def of_epoch(ranks: Ranks, key: str) -> list[object]:
    return [next(event for event in events if event["event"] == "epoch")[key] for events in ranks]


@pytest.fixture(scope="module", params=training_job.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, engine: str) -> tuple[dict[str, np.ndarray], Ranks]:
    """What one process makes of it."""
    return train(tmp_path_factory.mktemp("whole"), 1, "--kvstore=none", engine=engine)


@pytest.mark.parametrize(
    ("workers", "stages", "schedule", "environment"),
    [
        (2, 2, "gpipe", THREADS),
        (2, 2, "1f1b", TURNS),
        (3, 3, "gpipe", TURNS),
        (3, 3, "1f1b", THREADS),
        (4, 2, "1f1b", THREADS),
        (4, 2, "gpipe", {"HARNESS_BATCH_SIZES": "10,14,8,16"}),
    ],
)
def test_the_same_weights_as_one_process(
    tmp_path: Path,
    engine: str,
    whole: tuple[dict[str, np.ndarray], Ranks],
    workers: int,
    stages: int,
    schedule: str,
    environment: dict[str, str],
) -> None:
    expected_weights, one = whole
    found, ranks = pipeline(tmp_path, workers, stages, f"--schedule={schedule}", engine=engine, **environment)
    assert_close(found, expected_weights)
    assert len({events[-1]["weights_sha256"] for events in ranks}) == 1
    sizes = environment.get("HARNESS_BATCH_SIZES", ",".join([str(BATCH // workers)] * workers)).split(",")
    assert of_epoch(ranks, "images") == [STEPS * int(size) for size in sizes]
    for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        (expected,) = of_epoch(one, key)
        assert of_epoch(ranks, key) == pytest.approx([expected] * workers, rel=1e-4), key
    places = [events[0]["stage"] for events in ranks]
    assert [(place["number"], place["of"], place["replica"]) for place in places] == [
        (rank % stages + 1, stages, rank // stages + 1) for rank in range(workers)
    ]
    assert places[0]["layers"][0] == "conv1"
    assert places[-1]["layers"][-1] == "dense3"


def test_a_measured_cut_is_everybodys_and_changes_no_weights(
    tmp_path: Path, engine: str, whole: tuple[dict[str, np.ndarray], Ranks]
) -> None:
    found, ranks = pipeline(tmp_path, 3, 3, "--stage-times=measured", engine=engine)
    assert_close(found, whole[0])
    trained = [name for events in ranks for name in events[0]["stage"]["layers"]]
    assert trained == ["conv1", "conv2", "dense1", "dense2", "dense3"]


@pytest.mark.parametrize(
    ("workers", "stages", "schedule", "environment"),
    [
        (2, 2, "gpipe", {}),
        (3, 3, "1f1b", {}),
        (4, 2, "1f1b", {"HARNESS_BATCH_SIZES": "10,14,8,16"}),
    ],
)
def test_pytorchs_own_pipeline_makes_the_same_steps(
    tmp_path: Path, workers: int, stages: int, schedule: str, environment: dict[str, str]
) -> None:
    options = [f"--schedule={schedule}", "--momentum=0.9"]
    expected, _ = pipeline(tmp_path, workers, stages, *options, engine="torch", **environment)
    options.append("--pipeline-implementation=torch")
    found, ranks = pipeline(tmp_path, workers, stages, *options, engine="torch", **environment)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for phase in ("forward", "backward", "wait", "update"):
        assert all(isinstance(seconds, float) and seconds > 0 for seconds in of_epoch(ranks, f"{phase}_seconds")), phase


def test_pytorchs_own_pipeline_normalises_and_drops_what_ours_does(tmp_path: Path) -> None:
    options = ["--dataset=patches", "--epochs=1", "--limit=32", "--learning-rate=0.01"]
    for model in ("resnet20", "squeezenet_32"):
        expected, found = (
            pipeline(
                tmp_path, 2, 2, *options, f"--pipeline-implementation={whose}", engine="torch", model=model, images=16
            )
            for whose in ("own", "torch")
        )
        assert found[0].keys() == expected[0].keys()
        for name, value in expected[0].items():
            np.testing.assert_array_equal(found[0][name], value, err_msg=f"{model} {name}")
        assert of_epoch(found[1], "validation_loss") == of_epoch(expected[1], "validation_loss")


def test_where_a_steps_time_went_is_told_apart(tmp_path: Path, engine: str) -> None:
    _, ranks = pipeline(tmp_path, 2, 2, engine=engine, **THREADS)
    for phase in ("forward", "backward", "push", "wait", "pull", "update"):
        assert all(isinstance(seconds, float) and seconds > 0 for seconds in of_epoch(ranks, f"{phase}_seconds")), phase


def test_momentum_weight_decay_and_signed_messages(tmp_path: Path, engine: str) -> None:
    options = ["--momentum=0.9", "--weight-decay=0.001", "--epochs=2", "--no-validation"]
    expected, _ = train(tmp_path, 1, "--kvstore=none", *options, engine=engine, model="lenet")
    found, _ = pipeline(tmp_path, 4, 2, *options, "--sign-messages", engine=engine, model="lenet")
    assert_close(found, expected)


@pytest.mark.parametrize(("workers", "options"), [(2, []), (4, ["--momentum=0.9"])])
def test_a_continued_pipeline_ends_with_the_same_bits(
    tmp_path: Path, engine: str, workers: int, options: list[str]
) -> None:
    options = [*options, "--no-validation"]
    through, _ = pipeline(tmp_path, workers, 2, "--epochs=2", *options, engine=engine)
    pipeline(tmp_path, workers, 2, "--epochs=1", *options, engine=engine, HARNESS_CHECKPOINT="kept-{rank}.npz")
    kept = "kept-{rank}.npz" if "--momentum=0.9" in options else "kept-0.npz"
    rest, ranks = pipeline(tmp_path, workers, 2, "--epochs=2", *options, engine=engine, HARNESS_RESUME_FROM=kept)
    assert of_epoch(ranks, "epoch") == [2] * workers
    for name, value in through.items():
        np.testing.assert_array_equal(rest[name], value, err_msg=name)


def test_statistics_of_normalisations_come_together(tmp_path: Path, engine: str) -> None:
    options = ["--dataset=patches", "--limit=32", "--epochs=2", "--momentum=0.5"]
    checkpoint = {"HARNESS_CHECKPOINT": "kept-{rank}.npz"}
    train = pipeline(tmp_path, 2, 2, *options, engine=engine, model="resnet20", images=16, **checkpoint)
    kept = []
    for rank in range(2):
        with np.load(tmp_path / f"kept-{rank}.npz") as found:
            kept.append({name: array for name, array in found.items() if not name.startswith("state/")})
    moved = [name for name in kept[0] if name.endswith("_mean")]
    assert len(moved) == 19
    assert all((kept[0][name] != 0).any() for name in moved)
    for name, value in kept[0].items():
        np.testing.assert_array_equal(kept[1][name], value, err_msg=name)
    assert len({events[-1]["weights_sha256"] for events in train[1]}) == 1


def test_a_single_micro_batch_is_normalised_as_the_whole_batch_is(tmp_path: Path, engine: str) -> None:
    # One step: over several, what rounds differently flips an activation now and then.
    options = ["--dataset=patches", "--epochs=1", "--no-validation", "--learning-rate=0.01", "--limit=16"]
    expected, _ = train(tmp_path, 1, "--kvstore=none", *options, engine=engine, model="resnet20", images=16)
    found, _ = pipeline(tmp_path, 2, 2, *options, "--micro-batches=1", engine=engine, model="resnet20", images=16)
    assert_close(found, expected)


def test_what_is_dropped_follows_from_the_seed(tmp_path: Path, engine: str) -> None:
    options = ["--dataset=patches", "--epochs=1", "--no-validation", "--learning-rate=0.01"]
    once, again = (
        pipeline(tmp_path, 2, 2, *options, engine=engine, model="squeezenet_32", images=16)[1][0][-1]["weights_sha256"]
        for _ in range(2)
    )
    assert once == again


@pytest.mark.mxnet
def test_a_worker_that_is_alone_in_a_pipeline_ends_at_once(tmp_path: Path) -> None:
    asked = ["--dataset=digits", "--kvstore=allreduce", "--strategy=pipeline"]
    process = training_job.start(asked, {}, tmp_path)
    output, _ = process.communicate(timeout=training_job.LIMIT_SECONDS)
    assert process.returncode == 2
    assert "--strategy data" in training_job.events(output)[-1]["remedy"]


def sweep(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`harness sweep quickstart` on four nodes that are this machine, with the runtime of the environment."""
    hosts = {f"p-{number}": f"127.0.43.{number}" for number in range(1, 5)}
    root = Path(training_job.runtime_python()).parents[2]
    write_inventory(directory / "hosts.json", root, hosts)
    return subprocess.run(
        [
            sys.executable, "-m", "harness", "sweep", str(EXPERIMENTS / "quickstart.yaml"), "-i",
            str(directory / "hosts.json"), "-o", str(directory / "results"), "--set", "kvstore=allreduce", "--set",
            "strategy=pipeline", "--set", "epochs=2", "--set", "limit=256", "--set", "batch_size=16", *arguments,
        ],
        cwd=directory, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY), "HARNESS_CACHE_DIR": str(directory / ".cache")},
    )  # fmt: skip


@pytest.mark.mxnet
def test_a_sweep_over_local_nodes(tmp_path: Path) -> None:
    done = sweep(tmp_path, "--nodes", "2,4")
    assert done.returncode == 0, done.stdout + done.stderr
    run = next((tmp_path / "results").glob("*/*/trials.csv"))
    trials = list(csv.DictReader(run.read_text(encoding="utf-8").splitlines()))
    assert [trial["status"] for trial in trials] == ["ok", "ok"]
    assert all(float(trial["wait_seconds"]) > 0 for trial in trials)
    refused = sweep(tmp_path, "--nodes", "3")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "3 workers cannot be shared out evenly among 2 stages" in refused.stdout + refused.stderr
