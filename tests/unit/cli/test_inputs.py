"""What names stand for: experiments, inventories, virtual clusters, sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from harness.cli.inputs import find_experiment, find_inventory
from harness.cli.options import per_cent
from harness.errors import BadInputError
from harness.nodes import namespace
from harness.paths import EXPERIMENTS, INVENTORIES
from harness.virtual.state import cluster_of, clusters_up, places_of


def test_an_experiment_is_a_file_then_a_name_here_then_one_that_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_experiment(Path("quickstart")) == EXPERIMENTS / "quickstart.yaml"
    assert find_experiment(Path("quickstart.yaml")) == EXPERIMENTS / "quickstart.yaml"
    Path("quickstart.yaml").touch()
    assert find_experiment(Path("quickstart")) == Path("quickstart.yaml")
    Path("quickstart").touch()
    assert find_experiment(Path("quickstart")) == Path("quickstart")


@pytest.mark.parametrize("name", ["nothing", "nothing.yaml", "elsewhere/quickstart"])
def test_an_experiment_that_is_nowhere_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(BadInputError, match=f"no experiment {name}") as caught:
        find_experiment(Path(name))
    assert "quickstart" in caught.value.remedy


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of virtual clusters, empty."""
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(namespace, "NAMESPACES", tmp_path / "netns")
    (tmp_path / "netns").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bring_up(directory: Path, name: str) -> Path:
    places = places_of(name)
    places.inventory.parent.mkdir(parents=True)
    places.inventory.touch()
    places.record.touch()
    (directory / "netns" / f"hv-{name}-c").touch()
    return places.inventory


def test_without_an_inventory_it_is_this_machine_s_and_that_is_printed(
    clusters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_inventory(None) == INVENTORIES / "local"
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"inventory: {INVENTORIES / 'local'}\n")


def test_without_an_inventory_it_is_the_virtual_cluster_that_is_up(
    clusters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = bring_up(clusters, "pi")
    assert find_inventory(None) == inventory
    assert capsys.readouterr().err == f"virtual cluster pi: {inventory}\n"
    (clusters / "netns" / "hv-pi-c").unlink()
    assert find_inventory(None) == INVENTORIES / "local"


def test_of_several_virtual_clusters_one_must_be_named(clusters: Path) -> None:
    first, second = bring_up(clusters, "mine"), bring_up(clusters, "theirs")
    assert clusters_up() == ["mine", "theirs"]
    with pytest.raises(BadInputError, match="2 virtual clusters are up: mine, theirs") as caught:
        find_inventory(None)
    assert caught.value.remedy == "name the one to use: -i mine"
    assert find_inventory(Path("mine")) == first
    assert find_inventory(Path("theirs")) == second
    assert find_inventory(second) == second
    assert find_inventory(Path("pi.example")) == INVENTORIES / "pi.example"


def test_a_cluster_is_known_by_its_inventory_and_by_the_directory_of_it(clusters: Path) -> None:
    inventory = bring_up(clusters, "pi")
    assert [cluster_of(path) for path in (inventory, inventory.parent, clusters)] == ["pi", "pi", None]


def test_an_unknown_inventory_is_refused_with_those_there_are(clusters: Path) -> None:
    bring_up(clusters, "pi")
    with pytest.raises(BadInputError, match="inventory nix does not exist") as caught:
        find_inventory(Path("nix"))
    assert caught.value.remedy == "name a path, or one of pi, local, pi.example, table1.example"


@pytest.mark.parametrize(("text", "share"), [("97", 0.97), ("97%", 0.97), ("98.5", 0.985), ("100", 1.0), ("1", 0.01)])
def test_accuracies_are_in_per_cent(text: str, share: float) -> None:
    assert per_cent(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.97", "write 97"),
        (".985%", "write 98.5"),
        ("0", "not an accuracy in per cent"),
        ("-1", "not an accuracy in per cent"),
        ("101", "not an accuracy in per cent"),
        ("nan", "not an accuracy in per cent"),
        ("inf", "not an accuracy in per cent"),
        ("all", "not an accuracy in per cent"),
    ],
)
def test_an_accuracy_in_another_unit_is_refused(text: str, message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        per_cent(text)
