"""`harness advise` as a user meets it: a sentence, a table, JSON, or two lines that say why not. No node is contacted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.advise.machines import Machines, assumed_rates
from harness.cli.app import app
from harness.errors import HarnessError
from harness.experiment.rates import Rate, rate_rows, rates_text
from harness.paths import REPOSITORY
from harness.virtual.link import Link

STATED = ("--link", "100mbit", "--profile", "pi3")
PUBLISHED = Path(str(REPOSITORY)) / "docs" / "results" / "virtual-11" / "scaling"
HOSTS = """\
nodes:
  hosts:
    pi1: {ansible_host: 127.0.0.1}
    pi2: {ansible_host: 127.0.0.2, node_profile: pi3-slow}
  vars: {ansible_connection: local, cluster_kind: local, node_supervisor: process, node_root: /nowhere, node_memory: 512MiB}
"""


def harness(*arguments: str | Path) -> str:
    """What it printed."""
    done = CliRunner().invoke(app, ["advise", *map(str, arguments)], env={"HARNESS_INVENTORY": "", "COLUMNS": "140"})
    if done.exception:
        raise done.exception
    return done.stdout


def advised(*arguments: str | Path) -> dict[str, Any]:
    found = json.loads(harness(*arguments, "--json"))
    assert isinstance(found, dict)
    return found


def refused(*arguments: str | Path) -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        harness(*arguments)
    assert caught.value.exit_code == 2
    return caught.value


def option(advice: dict[str, Any], strategy: str, nodes: int) -> dict[str, Any]:
    return next(each for each in advice["options"] if (each["name"], each["nodes"]) == (strategy, nodes))


def rates_file(directory: Path, model: str = "lenet5", *milliseconds: float) -> Path:
    rates = [
        Rate(f"pi{number}", f"127.0.0.{number}", 0.005, each / 1e3)
        for number, each in enumerate(milliseconds or (1.0, 2.0), 1)
    ]
    path = directory / "rates.csv"
    path.write_text(
        rates_text({"program": "train.py", "model": model, "dataset": "mnist"}, rate_rows(rates, 64)), encoding="utf-8"
    )
    return path


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS, encoding="utf-8")
    return path


def test_the_published_model_on_eleven_boards() -> None:
    advice = advised("lenet5", "mnist", "--nodes", "11", *STATED)
    assert {each["nodes"] for each in advice["options"]} == set(range(1, 12))
    sums = option(advice, "sums", 11)
    assert (sums["steps"], sums["meetings"], sums["same"], sums["fits"]) == (85, 85, True, True)
    assert sums["sent_bytes"] == pytest.approx(448_771, rel=1e-5)
    assert sums["wire_seconds"] == pytest.approx(0.038, rel=0.01)
    assert option(advice, "sums or factors", 2)["sent_bytes"] == pytest.approx(187e3, rel=0.01)
    assert option(advice, "servers, 1 in all", 11)["wire_seconds"] == pytest.approx(0.42, rel=0.01)
    assert option(advice, "average every 17 steps", 11)["sent_bytes"] == pytest.approx(448_771 / 17, rel=0.001)
    assert option(advice, "never meet", 11)["one_model"] is False
    assert advice["advised"]["nodes"] == 11
    assert advice["answer"].startswith("take ")
    known = [each for each in advice["options"] if each["one_model"] and each["fits"]]
    assert known == sorted(known, key=lambda each: each["epoch_seconds"]["value"])
    assert "assumed: profile pi3" in advice["sources"]["computing"]
    assert advice["sources"]["link"] == "100 Mbit/s, given"
    assert advice["sources"]["other costs"].startswith("stated: ")


def test_two_nodes_on_a_slow_link_are_slower_than_one() -> None:
    said = harness("lenet5", "mnist", "--nodes", "2", "--link", "1mbit", "--profile", "pi3")
    first, *rest = said.splitlines()
    assert re.match(
        r"2 nodes that meet in every step are slower than one: a step computes [\d.]+ ms and moves [\d.]+ s; ", first
    )
    for words in (
        "average every epoch",
        "never meet",
        "many models",
        "speed-up",
        "assumed",
        "Nothing was run",
        "--set ",
    ):
        assert words in " ".join(rest)


def test_a_run_s_fitted_costs_are_taken() -> None:
    advice = advised("lenet5", "mnist", "--nodes", "11", "--link", "100mbit", "--run", PUBLISHED)
    measured = {1: 80.0, 4: 21.0, 11: 8.0}  # seconds an epoch, as published
    for nodes, seconds in measured.items():
        found = option(advice, "sums" if nodes > 1 else "one node", nodes)
        assert found["epoch_seconds"]["value"] == pytest.approx(seconds, rel=0.1)
    assert "fitted to" in advice["sources"]["other costs"]
    assert "fitted to" in advice["sources"]["computing"]
    other = advised("resnet20", "cifar10", "--nodes", "2", "--run", PUBLISHED)
    assert "assumed: profile pi3" in other["sources"]["computing"]


def test_measured_rates_are_taken_and_the_slowest_node_counts(tmp_path: Path) -> None:
    rates = rates_file(tmp_path)
    advice = advised("lenet5", "mnist", "--nodes", "2", "--rates", rates)
    assert option(advice, "one node", 1)["computing_seconds"] == pytest.approx(0.005 + 0.064)
    assert option(advice, "average every epoch", 2)["computing_seconds"] == pytest.approx(0.005 + 0.128)
    assert advice["sources"]["computing"] == f"measured: {rates}"
    assert (
        "has rates of 2 nodes, and 3 are asked for" in refused("lenet5", "mnist", "-n", "3", "--rates", rates).message
    )
    assert (
        "rates of model lenet, not of lenet5"
        in refused("lenet5", "mnist", "--rates", rates_file(tmp_path, "lenet")).message
    )


def test_of_several_nodes_the_least_memory_counts_and_rates_follow_operations() -> None:
    nodes = Machines(("a", "b", "c"), ("pi3", "pi3", "pi4"), (3 << 30, 1 << 30, 2 << 30), Link(10**8), {})
    assert [nodes.least_memory(count) for count in (1, 2, 3)] == [3 << 30, 1 << 30, 1 << 30]
    once, twice = (assumed_rates(nodes, operations, 1e6) for operations in (1e6, 2e6))
    assert [rate.image_seconds for rate in twice] == [2 * rate.image_seconds for rate in once]
    assert once[2].image_seconds < once[1].image_seconds == once[0].image_seconds


def test_an_inventory_says_memory_and_profiles(inventory: Path) -> None:
    advice = advised("lenet5", "mnist", "-i", inventory)
    assert {each["nodes"] for each in advice["options"]} == {1, 2}
    assert advice["sources"]["memory"] == "536 MB a node, of the inventory"
    one, two = (
        option(advice, name, nodes)["computing_seconds"] for name, nodes in (("one node", 1), ("never meet", 2))
    )
    assert two == pytest.approx(one * 1.18 / 0.81)
    assert "3 nodes asked for" in refused("lenet5", "mnist", "-i", inventory, "-n", "3").message


def test_a_batch_that_does_not_fit_is_refused_with_the_largest_that_does() -> None:
    large = ("alexnet_32", "patches", "--memory", "1GiB", *STATED)
    error = refused(*large, "--batch-size", "4096")
    assert error.message.startswith("alexnet_32 with 4096 images at once needs about ")
    assert error.message.endswith("node01 has 1073 MB")
    most = re.search(r"--set batch_size=(\d+)", error.remedy)
    assert most
    assert "--set accumulate=" in error.remedy
    fitting = advised(*large, "--batch-size", most[1], "-n", "2")
    assert option(fitting, "one node", 1)["fits"] is True
    assert option(fitting, "sums", 2)["fits"] is False  # which also holds another node's gradients
    assert refused(*large, "--set", f"batch_size={int(most[1]) + 1}", "-n", "1")
    assert "too much memory: sums on 2 nodes: use --set batch_size=" in " ".join(
        harness(*large, "--batch-size", most[1], "-n", "2").split()
    )


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (["resnet19", "mnist"], "there is no model resnet19", "resnet18? or one of: lenet5"),
        (["lenet5", "minst"], "there is no dataset minst", "mnist? or one of: digits"),
        (["lenet5", "mnist", "--link", "fast"], "'fast' is no link rate", "100mbit"),
        (["lenet5", "mnist", "--profile", "pi9"], "unknown profile 'pi9'", "pi3"),
        (["lenet5", "mnist", "--profile", "none"], "profile none says no speed", "pi3"),
        (["lenet5", "mnist", "--memory", "1"], "'1' is no memory size", "1GiB"),
        (["lenet5", "cifar10"], "images have channels: 3, the model takes: 1", "another data set or model"),
        (["lenet5", "mnist", "--set", "kvstor=none"], "no such parameter", "one of"),
        (["lenet5", "mnist", "--set", "batch_size=1,2"], "advice is for one value of it", "one value"),
        (["lenet5", "digits", "--batch-size", "9999"], "do not fill one batch", "smaller batch"),
        (["lenet5", "mnist", "--rates", "nowhere.csv"], "cannot read rates", "rates.csv"),
        (["lenet5", "mnist", "--run", "nowhere"], "is no run directory", "name one"),
        (["lenet5", "mnist", "--program", "montecarlo.py"], "is not told by a model and a data set", "subject"),
    ],
)
def test_bad_input_is_named_with_a_remedy(arguments: list[str], message: str, remedy: str) -> None:
    error = refused(*arguments)
    assert message in error.message
    assert remedy in error.remedy


def test_values_that_are_set_hold_for_the_strategies_that_they_are_of() -> None:
    advice = advised(
        "lenet5", "mnist", "-n", "3", "--set", "meet_every=50", "--set", "servers=2", "--set", "momentum=0.9"
    )
    names = {each["name"] for each in advice["options"]}
    assert {"average every 50 steps", "servers, 2 in all"} <= names
    assert option(advice, "sums", 3)["meetings"] == option(advice, "sums", 3)["steps"]


def test_strategies_that_the_parameters_do_not_allow_are_left_out_and_named() -> None:
    advice = advised("lenet5", "mnist", "-n", "2", "--set", "engine=torch")
    assert "sums as bfloat16" in advice["left_out"]
    assert "servers, one a node" in advice["left_out"]
    assert option(advice, "sums", 2)["sent_bytes"] == option(advice, "sums or factors", 2)["sent_bytes"]


def test_on_a_medium_that_all_share_everything_takes_its_turn(tmp_path: Path) -> None:
    advice = advised("lenet5", "mnist", "--nodes", "4", "--profile", "pi3", "--link", "wifi:20mbit,loss=1%")
    assert (advice["link_bits_per_second"], advice["shared_medium"]) == (20_000_000, True)
    assert advice["sources"]["link"] == (
        "one medium of 20 Mbit/s that all share, half of it from node to node; its loss and latency are not counted, given"
    )
    on_air = {
        name: 8 / 20e6 * 1538 / 1448 * 2 * 3 * 61_706 * count for name, count in (("sums", 2 * 4), ("2-bit", 4.25))
    }
    assert option(advice, "sums", 4)["wire_seconds"] == pytest.approx(on_air["sums"], rel=1e-4)
    assert option(advice, "2-bit to servers", 4)["wire_seconds"] == pytest.approx(on_air["2-bit"], rel=1e-4)
    # Sums of more nodes take longer here, and less by cables: both ways at once, and each its own.
    cables = advised("lenet5", "mnist", "--nodes", "4", "--profile", "pi3", "--link", "20mbit")
    for found, longer in ((advice, True), (cables, False)):
        two, four = (option(found, "sums", nodes)["epoch_seconds"]["value"] for nodes in (2, 4))
        assert (four > two) is longer
    assert "are slower than one" in advice["answer"]


def test_an_inventory_may_say_that_its_nodes_share_a_medium(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(HOSTS.replace("node_root:", "cluster_link: wifi, node_root:"), encoding="utf-8")
    found = advised("lenet5", "mnist", "-i", inventory)
    assert (found["link_bits_per_second"], found["shared_medium"]) == (30_000_000, True)
    assert found["sources"]["link"].endswith("that all share, half of it from node to node, assumed")
    assert advised("lenet5", "mnist", "-i", inventory, "--link", "100mbit")["sources"]["link"] == "100 Mbit/s, given"


def test_servers_on_a_cabled_machine_are_on_the_air_once(tmp_path: Path) -> None:
    def wire(advice: dict[str, Any], name: str) -> float:
        return float(option(advice, name, 2)["wire_seconds"])

    once = 8 / 30e6 * 1538 / 1448 * 2 * 61_706 * 4 * 2  # two workers give and get all values
    may_be = advised("lenet5", "mnist", "-n", "2", "--link", "wifi", "--profile", "pi3")
    assert wire(may_be, "servers on a wired centre") == pytest.approx(once)
    assert wire(may_be, "servers, 1 in all") == pytest.approx(once)  # of two nodes half is on the air twice
    cables = advised("lenet5", "mnist", "-n", "2", *STATED)
    text = HOSTS.replace("node_root:", "cluster_link: wifi, node_root:")
    without, centre = tmp_path / "without.yml", tmp_path / "centre.yml"
    without.write_text(text, encoding="utf-8")
    host = "    pi3: {ansible_host: 127.0.0.3, node_counts: false}\n  vars:"
    centre.write_text(f"{text.replace('  vars:', host)}servers: {{hosts: {{pi3: {{}}}}}}\n", encoding="utf-8")
    for found in (cables, advised("lenet5", "mnist", "-i", without), advised("lenet5", "mnist", "-i", centre)):
        assert "servers on a wired centre" not in {each["name"] for each in found["options"]}
    is_there = advised("lenet5", "mnist", "-i", centre)
    assert wire(is_there, "servers, one a node") == pytest.approx(once)
    assert wire(is_there, "sums") == pytest.approx(once)


def test_a_run_on_a_shared_medium_has_no_costs_of_links(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(PUBLISHED, run)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["cluster"]["link"] = "wifi"
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "shared one medium" in refused("lenet5", "mnist", *STATED, "--run", run).message
