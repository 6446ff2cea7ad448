"""The declaration: what is understood, and what is refused with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.columns import DEFAULT_ACCURACIES
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, load_experiment, parse_counts
from harness.experiment.overrides import with_overrides
from harness.experiment.plan import expand
from harness.paths import EXPERIMENTS

GOOD = """\
name: tiny
program: train.py
parameters: {kvstore: dist_sync, batch_size: 64, seed: 3}
axes:
  nodes: 1-3
  repeats: 2
  kvstore: [dist_sync, none]
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "counts"),
    [("4", [4]), ("1-4", [1, 2, 3, 4]), ("1,2,4-6", [1, 2, 4, 5, 6]), (3, [3]), ([1, "3-4"], [1, 3, 4])],
)
def test_counts(text: str | int | list[int | str], counts: list[int]) -> None:
    assert parse_counts(text) == counts


@pytest.mark.parametrize("text", ["", "0", "4-1", "a", "1-", "-1", "1.5", True, []])
def test_what_is_no_count_is_refused(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the part
        parse_counts(text)  # type: ignore[arg-type]


@given(st.sets(st.integers(1, 99), min_size=1))
def test_counts_survive_being_written_down(counts: set[int]) -> None:
    assert parse_counts(",".join(map(str, counts))) == sorted(counts)


def test_a_good_declaration(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD))
    assert experiment.axes.nodes == [1, 2, 3]
    assert experiment.axes.parameters == {"kvstore": ["dist_sync", "none"]}
    assert expand(experiment)[0].program.count_of(experiment.program_of("").roles["server"], {}) is None


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_that_comes_along_is_valid(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert all(program.path.is_file() for program in experiment.programs().values())


def test_the_reference_experiment_is_the_published_one() -> None:
    experiment = load_experiment(EXPERIMENTS / "lenet_scaling.yaml")
    wanted = {"model": "lenet5", "dataset": "mnist", "batch_size": 64, "learning_rate": 0.05, "epochs": 10}
    assert {key: experiment.parameters[key] for key in wanted} == wanted
    assert experiment.axes.nodes == list(range(1, 12))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("axes:", "axis: 1\naxes:"), r"experiment.yaml:4: unknown key 'axis' \(known here: name, "),
        (("  repeats: 2", "  repeats: 0"), r"experiment.yaml:6: axes.repeats: "),
        (("  nodes: 1-3", "  nodes: 3-1"), r"experiment.yaml:5: axes.nodes: '3-1' must count upwards"),
        (("kvstore: [dist_sync, none]", "kvstor: [1]"), r"axis 'kvstor' is no parameter"),
        (("kvstore: [dist_sync, none]", "kvstore: none"), r"axis 'kvstore' needs a list"),
        (("batch_size: 64", "status: 1"), r"parameter 'status' has the name of a column"),
        (("batch_size: 64", "images: 1"), r"parameter 'images' has the name of a column"),
        (("name: tiny", "name: Tiny One"), r"experiment.yaml:1: name: must be a lower-case word"),
        (("program: train.py\n", ""), r"program: Field required"),
        (("axes:", "policies: [quick]\naxes:"), r"policy 'quick' is no variant"),
        (("axes:", "accuracies: [98]\naxes:"), r"accuracies.*less than 1"),
        (("name: tiny", "name: [tiny"), r"is not YAML"),
        ((GOOD, "- 1"), r"is a mapping"),
        ((GOOD, "!!python/object/apply:os.system [id]"), r"is not YAML"),
    ],
)
def test_a_fault_names_its_place(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        load_experiment(write(tmp_path, GOOD.replace(*change)))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cannot read experiment .*nowhere\.yaml"):
        load_experiment(tmp_path / "nowhere.yaml")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return load_experiment(write(tmp_path, GOOD))


def test_the_command_line_overrides(experiment: Experiment) -> None:
    changed = with_overrides(
        experiment,
        nodes="2,4",
        repeats=1,
        settings=["batch_size=32,64", "kvstore=none", "servers=2"],
        environment=["A=b=c"],
    )
    assert changed.axes.nodes == [2, 4]
    assert changed.axes.parameters == {"batch_size": [32, 64]}
    assert changed.parameters["kvstore"] == "none"
    assert changed.parameters["servers"] == 2
    assert changed.environment == {"A": "b=c"}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"settings": ["epoch=1"]}, "--set epoch: experiment 'tiny' has no such parameter"),
        ({"settings": ["epochs"]}, "not of the form NAME=VALUE"),
        ({"variants": ["fast"]}, "--variant fast: experiment 'tiny' has no such variant"),
        ({"nodes": "x"}, "command line: axes.nodes: 'x' is neither a count"),
    ],
)
def test_an_override_of_nothing_is_refused(experiment: Experiment, overrides: dict[str, list[str]], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        with_overrides(experiment, **overrides)  # type: ignore[arg-type]


def test_the_default_experiment_scales_and_warms_up_its_rate_and_names_its_policies() -> None:
    experiment = load_experiment(EXPERIMENTS / "scaling.yaml")
    assert experiment.parameters["learning_rate_scaling"] == "sqrt"
    assert experiment.parameters["warmup_steps"]
    assert set(experiment.policies) == set(experiment.variants)
    assert experiment.axes.repeats == 3


def test_accuracies_are_in_order_and_every_trial_has_them(tmp_path: Path) -> None:
    declared = load_experiment(write(tmp_path, GOOD + "accuracies: [0.9, 0.5, 0.9]\n"))
    assert declared.accuracies == [0.5, 0.9]
    assert {trial.accuracies for trial in expand(declared)} == {(0.5, 0.9)}
    assert expand(load_experiment(write(tmp_path, GOOD)))[0].accuracies == DEFAULT_ACCURACIES
