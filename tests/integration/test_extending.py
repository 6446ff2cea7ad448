"""Every recipe of docs/extending.md is carried out in a copy of the repository: the page cannot drift from the code."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import require_virtual
from recipes import OUTPUT, RUN, RUN_AS_ROOT, RUN_PROVISIONED, Copy, outputs_missing, page, recipes, table
from training_job import runtime_python

from harness.paths import cache_directory

MOST_FILES = {"A rule": 3, "A key-value store": 3, "A model": 1, "A data set": 1, "An engine": 3, "A role": 4}
SUBNET = "10.82.0.0/24"
CHECKS = (
    "tests/unit/test_docs.py::test_the_page_of_parameters_is_made_from_the_description",
    "tests/unit/test_house.py",
    "tests/unit/contract/test_columns.py",
    "tests/unit/training/test_program_description.py",
    "tests/unit/training/test_rules.py",
    "tests/unit/training/test_models_file.py",
    "tests/provisioning/test_role_documents.py",
)
"""Of the harness's own tests those of the tables that recipes add to."""
MAKE_DOCS = """
python ansible/readmes.py
python -m harness.report.reference > docs/reference/columns.md
python -m harness.report.reference train.py > docs/reference/train.md
"""
"""What `make docs` does, without setting up an environment."""
RECIPES = recipes()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """For recipes that train nothing, or without MXNet."""
    return Copy(tmp_path)


@pytest.fixture
def provisioned(tmp_path: Path) -> Copy:
    """For recipes that train with MXNet; skips where there is none."""
    made = Copy(tmp_path)
    made.install_runtime(runtime())
    return made


@pytest.fixture(scope="module")
def with_stripes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, str]:
    """The data set's recipe, carried out but for the training, and what its commands said."""
    made = Copy(tmp_path_factory.mktemp("stripes"))
    return made, made.carry_out(RECIPES["A data set"], RUN)


@pytest.fixture
def cluster(copy: Copy) -> Iterator[str]:
    """The name of a virtual cluster that is removed at the end."""
    require_virtual()
    copy.environment["HARNESS_CACHE_DIR"] = str(cache_directory())  # making the nodes' file system takes a minute
    name = f"e{os.getpid():x}"
    yield name
    copy.run(f"harness cluster down --name {name}")


def runtime() -> Path:
    """The runtime with MXNet."""
    return Path(runtime_python()).parent.parent


def rows(copy: Copy, run: str, file: str) -> list[dict[str, str]]:
    text = (copy.tree / run / "latest" / f"{file}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def trained(copy: Copy, **expected: str) -> list[dict[str, str]]:
    """The rows of epochs.csv of the quickstart's last run, once all its trials ended well with these values."""
    for row in rows(copy, "results/quickstart", "trials"):
        assert row["status"] == "ok", row["failure"]
        assert {name: row[name] for name in expected} == expected
    return rows(copy, "results/quickstart", "epochs")


def carried_out(copy: Copy, title: str, *kinds: str) -> str:
    """What a recipe's commands say, among it all that the recipe promises."""
    said = copy.carry_out(RECIPES[title], RUN, *kinds)
    assert outputs_missing(RECIPES[title].blocks, said) == [], said
    return said


# --- the page itself ---


def test_every_block_is_read() -> None:
    """A block that the test does not understand would be carried out by nobody."""
    fences = len(re.findall(r"^```\w", page(), re.MULTILINE))
    blocks = [block for recipe in RECIPES.values() for block in recipe.blocks]
    assert len(blocks) == fences
    assert {block.action for block in blocks if not block.file} == {RUN, RUN_PROVISIONED, RUN_AS_ROOT, OUTPUT}


def test_every_recipe_has_a_test() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [title for title in RECIPES if f'"{title}"' not in text.partition("# --- recipes ---")[2]] == []


def test_the_table_counts_the_files() -> None:
    assert table() == {title: len(recipe.files) for title, recipe in RECIPES.items()}


@pytest.mark.parametrize(("title", "most"), MOST_FILES.items())
def test_no_recipe_touches_more_files_than_it_should(title: str, most: int) -> None:
    assert len([file for file in RECIPES[title].files if not file.startswith(("docs/", "tests/"))]) <= most


# --- recipes ---


def test_model(copy: Copy) -> None:
    carried_out(copy, "A model")


@pytest.mark.mxnet
def test_model_trains(provisioned: Copy) -> None:
    provisioned.carry_out(RECIPES["A model"], RUN_PROVISIONED)
    epochs = trained(provisioned, model="mlp", model_parameters=str(64 * 32 + 32 + 32 * 10 + 10))
    assert float(epochs[-1]["validation_accuracy"]) > 0.5


def test_data_set(with_stripes: tuple[Copy, str]) -> None:
    copy, said = with_stripes
    assert outputs_missing(RECIPES["A data set"].blocks, said) == [], said
    assert (copy.node_root / "data" / "stripes" / "train.csv").is_file()


@pytest.mark.mxnet
def test_data_set_is_trained_on(with_stripes: tuple[Copy, str]) -> None:
    copy, _ = with_stripes
    copy.install_runtime(runtime())
    copy.run_all(RECIPES["A data set"], RUN_PROVISIONED)
    epochs = trained(copy, dataset="stripes")
    assert float(epochs[-1]["validation_accuracy"]) > 0.9


def test_rule(copy: Copy) -> None:
    carried_out(copy, "A rule")


@pytest.mark.mxnet
def test_rule_trains(provisioned: Copy) -> None:
    provisioned.carry_out(RECIPES["A rule"], RUN_PROVISIONED)
    loss = {row["trial"]: float(row["train_loss"]) for row in trained(provisioned, workers="2")}
    assert loss["n02-r1-rule_clipped"] > 1.1 * loss["n02-r1-rule_sgd"]  # it takes shorter steps


def test_kvstore(copy: Copy) -> None:
    carried_out(copy, "A key-value store")


@pytest.mark.mxnet
def test_kvstore_trains(provisioned: Copy) -> None:
    said = provisioned.carry_out(RECIPES["A key-value store"], RUN_PROVISIONED)
    trained(provisioned, kvstore="epoch_average", workers="2")
    assert re.findall(r'(\d+) "weights_sha256"', said) == ["2"]


def test_engine(copy: Copy) -> None:
    copy.install_runtime_without_mxnet()
    copy.apply(RECIPES["A model"])
    carried_out(copy, "An engine")
    runs = sorted((copy.tree / "results" / "quickstart").glob("2*"))
    trials = list(csv.DictReader((runs[0] / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["engine"], row["status"]) for row in trials] == [("numpy", "ok")] * 2
    assert all(float(row["validation_accuracy"]) > 0.7 for row in trials)


def test_program_of_your_own(copy: Copy) -> None:
    carried_out(copy, "A program of your own")
    assert len(rows(copy, "darts/results/darts", "epochs")) == 3 * (1 + 2)


def test_role(copy: Copy) -> None:
    carried_out(copy, "A role")
    (trial,) = rows(copy, "tally/results/tally", "trials")
    assert (trial["status"], trial["collectors"], trial["workers"]) == ("ok", "1", "3")


def test_column(copy: Copy) -> None:
    carried_out(copy, "A column")


@pytest.mark.mxnet
def test_column_is_written(provisioned: Copy) -> None:
    provisioned.carry_out(RECIPES["A column"], RUN_PROVISIONED)
    assert all(int(row["page_faults"]) >= 0 for row in trained(provisioned))


def test_fault_case(copy: Copy) -> None:
    carried_out(copy, "A fault case")


@pytest.mark.virtual
def test_fault_case_holds(copy: Copy, cluster: str) -> None:
    recipe = RECIPES["A fault case"]
    copy.apply(recipe)
    (commands,) = (block.text for block in recipe.blocks if block.action == RUN_AS_ROOT)
    own = f"--profile none --subnet {SUBNET}"  # not in the way of clusters that are up
    said = copy.run(commands.replace(" try", f" {cluster}").replace("--profile none", own))
    assert "1 of 1 cases held" in said


def test_ansible_setting(copy: Copy) -> None:
    carried_out(copy, "An Ansible setting")
    assert (copy.node_root / "NOTE").read_text(encoding="utf-8") == "Measurements until Friday.\n"


# --- all of them together ---


def test_all_recipes_go_together(copy: Copy) -> None:
    """With every recipe carried out, the checks of what they add to still hold."""
    for recipe in RECIPES.values():
        copy.apply(recipe)
    copy.run(MAKE_DOCS)
    copy.run(f"python -m pytest -q -p no:cacheprovider {' '.join(CHECKS)}")
