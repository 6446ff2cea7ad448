"""The command line is what the description says, and the stores are what it says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest
import yaml
from training import engines, kvstores, models, options, schedule
from training.datasets import catalogue
from training.engines.base import Engine
from training.errors import ProgramError
from training.kvstores.registration import Opening
from training.options.command_line import parse
from training.options.description import PROGRAMS, described, read_description
from training.rules import RULES

DESCRIPTION = """
description: A test, at 100% of its size.
command: small.py
parameters:
  rounds: {type: int, minimum: 1, maximum: 9, default: 3, help: How often.}
  rate: {type: float, above: 0, default: null, help: How fast.}
  kind: {type: choice, choices_from: kinds.yaml, choices_when: {c: {loud: true}}, default: a, help: Which.}
  loud: {type: bool, default: false, help: Say more.}
  depth: {type: int, default: 1, when: {kind: b}, help: How deep.}
  name: {type: choice, choices_from: [names.json, more.yaml], default: alpha, help: Whose.}
  words: {type: text, default: null, help: Anything.}
  hidden: {type: int, default: 1, passed: false, help: The harness's.}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "small.program.yaml").write_text(DESCRIPTION, encoding="utf-8")
    (tmp_path / "names.json").write_text('{"alpha": {}}', encoding="utf-8")
    (tmp_path / "more.yaml").write_text("beta: {}\n", encoding="utf-8")
    (tmp_path / "kinds.yaml").write_text("a: {}\nb: {}\nc: {}\n", encoding="utf-8")
    return tmp_path / "small.program.yaml"


def test_defaults_and_values(small: Path) -> None:
    description = read_description(small)
    rest = {"name": "alpha", "words": None}
    assert parse(description, []) == {"rounds": 3, "rate": None, "kind": "a", "loud": False, "depth": 1, **rest}
    arguments = ["--rounds=9", "--rate", "1e-3", "--kind=b", "--loud", "--depth", "2", "--name=beta", "--words", "x y"]
    rest = {"name": "beta", "words": "x y"}
    assert parse(description, arguments) == {"rounds": 9, "rate": 1e-3, "kind": "b", "loud": True, "depth": 2, **rest}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rounds", "0"], "--rounds: 0 is less than 1"),
        (["--rounds", "10"], "--rounds: 10 is more than 9"),
        (["--rounds", "many"], "--rounds: invalid int value"),
        (["--rounds", "1.5"], "--rounds: invalid int value"),
        (["--rate", "0"], "--rate: 0 is not above 0"),
        (["--rate", "inf"], "--rate: inf is no number"),
        (["--rate", "0,05"], "--rate: invalid float value"),
        (["--kind", "d"], "--kind: invalid choice"),
        (["--name", "alfa"], "--name: invalid choice: 'alfa' (choose from alpha, beta; perhaps alpha)"),
        (["--kind", "c"], "--kind c means nothing with --loud False"),
        (["--hidden", "1"], "unrecognized arguments: --hidden"),
        (["--round", "1"], "unrecognized arguments: --round"),
        (["--depth", "2"], "--depth means nothing with --kind a"),
    ],
)
def test_what_is_wrong_is_named(small: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse(read_description(small), arguments)
    assert complaint in caught.value.message
    assert caught.value.remedy


def test_a_parameter_without_meaning_may_have_its_default(small: Path) -> None:
    assert parse(read_description(small), ["--depth", "1"])["depth"] == 1


def test_choices_may_be_the_modules_of_a_folder(small: Path) -> None:
    (small.parent / "kinds").mkdir()
    for module in ("b.py", "a.py", "__init__.py", "c.txt"):
        (small.parent / "kinds" / module).touch()
    small.write_text(DESCRIPTION.replace("kinds.yaml", "kinds"), encoding="utf-8")
    (kind,) = (parameter for parameter in read_description(small).parameters if parameter.name == "kind")
    assert kind.choices == ("a", "b")


def test_parameters_may_be_those_of_another_program(small: Path) -> None:
    other = small.with_name("other.program.yaml")
    text = "description: Another.\ncommand: other.py\nparameters_from: small.program.yaml\n"
    own = "only: [rounds, words]\nparameters:\n  words: {type: int, default: 7, help: How many.}\n"
    other.write_text(text + own, encoding="utf-8")
    assert parse(read_description(other), ["--rounds", "4"]) == {"rounds": 4, "words": 7}
    other = small.with_name("all.program.yaml")
    other.write_text(text, encoding="utf-8")
    assert read_description(other).parameters == read_description(small).parameters


def test_help_is_the_descriptions(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(read_description(small), ["--help"])
    printed = capsys.readouterr().out
    assert "at 100% of its size" in printed
    assert "How often. Default: 3." in printed
    assert "Only with kind b." in printed
    assert "--no-loud" in printed


def test_the_typed_options_are_the_described_parameters() -> None:
    fields = {field.name for field in dataclasses.fields(options.Options)} - {"own"}
    own = options.parse([]).own
    assert not fields & own.keys()
    assert fields | own.keys() == {parameter.name for parameter in described("train.py").parameters}


def test_choices_are_what_there_is() -> None:
    choices = {parameter.name: parameter.choices for parameter in described("train.py").parameters}
    assert choices["engine"] == engines.NAMES
    assert choices["model"] == models.names()
    assert choices["dataset"] == tuple(catalogue())
    assert choices["learning_rate_scaling"] == schedule.SCALINGS
    assert set(choices["rule"]) == set(RULES)
    stores = [kvstores.registered(engine) for engine in engines.NAMES]
    assert set(choices["kvstore"]) == {name for known in stores for name in known}
    assert set(choices["wire"]) == {wire for known in stores for store in known.values() for wire in store.wires}


def test_the_plain_loop_takes_what_train_py_takes() -> None:
    ours = {parameter.name: parameter for parameter in described("train.py").parameters}
    for parameter in described("train_gluon.py").parameters:
        other = ours[parameter.name]
        assert parameter.type == other.type
        assert set(parameter.choices) <= set(other.choices)
        assert (parameter.minimum, parameter.above) == (other.minimum, other.above)


def test_the_described_roles_and_options_are_the_registered_ones() -> None:
    content = yaml.safe_load((PROGRAMS / "train.program.yaml").read_text(encoding="utf-8"))
    for store in kvstores.registered("mxnet").values():
        roles = {
            name for name, role in content["roles"].items() if store.name in _stores_of(role) or "when" not in role
        }
        assert roles == set(store.roles)
        meant = {name for name, entry in content["parameters"].items() if store.name in _stores_of(entry)}
        assert meant == set(store.options) - {"threshold"}  # which belongs to a wire


def test_the_described_options_of_rules_are_the_registered_ones() -> None:
    described_options = {
        (rule, parameter.name)
        for parameter in described("train.py").parameters
        for rule in parameter.when.get("rule", ())
    }
    assert described_options == {(name, option) for name, rule in RULES.items() for option in rule.options}


def _stores_of(entry: dict[str, dict[str, list[str]]]) -> list[str]:
    found = entry.get("when", {}).get("kvstore", [])
    return found if isinstance(found, list) else [found]


def test_the_described_wires_are_the_registered_ones() -> None:
    (wire,) = (parameter for parameter in described("train.py").parameters if parameter.name == "wire")
    for engine in engines.NAMES:
        for store in kvstores.registered(engine).values():
            told = {
                choice
                for choice in wire.choices
                if store.name in wire.choices_when.get(choice, {}).get("kvstore", (store.name,))
                and engine in wire.choices_when.get(choice, {}).get("engine", (engine,))
            }
            assert told == set(store.wires)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--kvstore", "none", "--synchronise-every", "2"], "--synchronise-every means nothing with --kvstore none"),
        (
            ["--kvstore", "allreduce", "--engine", "torch", "--synchronise-every", "2"],
            "means nothing with --engine torch",
        ),
        (["--kvstore", "none", "--rule", "average"], "--rule means nothing with --kvstore none"),
        (["--threshold", "0.1"], "--threshold means nothing with --wire float32"),
    ],
)
def test_options_that_mean_nothing_are_refused(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ProgramError) as caught:
        options.parse(arguments)
    assert complaint in caught.value.message


def test_an_engine_has_its_own_stores() -> None:
    assert set(kvstores.registered("torch")) == {"allreduce", "none"}
    with pytest.raises(ProgramError, match="PyTorch has no store dist_sync"):
        kvstores.check("dist_sync", kvstores.KVStoreOptions(), "torch")
    with pytest.raises(ProgramError, match="the store allreduce does not exchange bfloat16"):
        kvstores.check("allreduce", kvstores.KVStoreOptions(wire="bfloat16"), "torch")


def test_what_pytorchs_own_store_cannot_do_is_refused_before_a_trial_where_no_other_serves() -> None:
    signed = {"sign_messages": True}
    with pytest.raises(ProgramError, match="signs no messages") as caught:
        kvstores.check("allreduce", kvstores.KVStoreOptions(own=signed), "torch")
    assert "--rule sgd" in caught.value.remedy
    for own in ({"lars": 0.1}, {"meet_every": 3}, {"cadence": "epoch"}, {"meet_delay": 2}):
        with pytest.raises(ProgramError, match="rule"):
            kvstores.check("allreduce", kvstores.KVStoreOptions(own=own), "torch")
    kvstores.check("allreduce", kvstores.KVStoreOptions(own=signed, rule="sgd"), "torch")
    for serving in ({"strategy": "split"}, {"strategy": "pipeline"}, {"dense_gradients": "factors"}):
        kvstores.check("allreduce", kvstores.KVStoreOptions(own={**signed, **serving}), "torch")


def test_an_engine_without_stores_of_its_own_has_those_for_all() -> None:
    assert set(kvstores.registered("another")) == {"allreduce", "none"}
    assert kvstores.registered("another")["allreduce"] is kvstores.registered("mxnet")["allreduce"]
    assert kvstores.registered("torch")["allreduce"] is not kvstores.registered("mxnet")["allreduce"]


def test_a_store_with_one_rule_is_asked_for_no_other() -> None:
    kvstores.check("allreduce", kvstores.KVStoreOptions(rule="average"))
    with pytest.raises(ProgramError, match="the store dist_sync has one rule only") as caught:
        kvstores.check("dist_sync", kvstores.KVStoreOptions(rule="average"))
    assert "--kvstore allreduce" in caught.value.remedy


def test_a_rule_that_meets_in_every_step_refuses_to_meet_seldom() -> None:
    asked = kvstores.KVStoreOptions(synchronise_every=2, rule="sgd")
    with pytest.raises(ProgramError, match="the rule sgd has the workers meet in every step") as caught:
        kvstores.registered("another")["allreduce"].open(Opening(cast(Engine, None), asked, 16, 0.1, 0))
    assert "--rule average" in caught.value.remedy
