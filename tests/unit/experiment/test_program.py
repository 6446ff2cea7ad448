"""Descriptions of programs: what is understood, what is refused with file, line and key, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import BadInputError
from harness.experiment.catalog import bundled_programs, find_program, read_program
from harness.experiment.declaration import load_experiment, validate
from harness.experiment.overrides import with_dashboard, with_overrides
from harness.experiment.parameter import Parameter
from harness.experiment.plan import expand
from harness.experiment.program import Program
from harness.paths import EXPERIMENTS

GOOD = """\
description: Count.
command: count.py
roles:
  boss: {on: first, ends: serves, when: {mode: split}}
  worker: {count: hands, may_die: 1}
batch: size
alone: {mode: alone}
parameters:
  size: {type: int, minimum: 1, default: 8, help: Numbers a step.}
  rate: {type: float, above: 0, maximum: 1, default: 0.5, help: How fast.}
  mode: {type: choice, choices: [split, alone], default: split, help: How.}
  shared: {type: bool, default: false, help: Whether., when: {mode: split}}
  label: {type: text, help: A word.}
  hands: {type: int, minimum: 1, help: Workers., passed: false}
"""


def write(directory: Path, text: str = GOOD, experiment: dict[str, Any] | None = None) -> Path:
    """The program, its description and an experiment beside each other; the description's path."""
    (directory / "count.py").touch()
    path = directory / "count.program.yaml"
    path.write_text(text, encoding="utf-8")
    document = {"name": "e", "program": "count.py", **(experiment or {})}
    (directory / "e.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def test_choices_may_be_the_modules_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "modes").mkdir()
    for module in ("split.py", "alone.py", "__init__.py", "note.txt"):
        (tmp_path / "modes" / module).touch()
    program = read_program(write(tmp_path, GOOD.replace("choices: [split, alone]", "choices_from: modes")))
    assert (program.parameters or {})["mode"].choices == ("alone", "split")


def test_choices_may_come_from_several_files_and_a_misspelt_one_is_answered_with_those_like_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("split: {}\n", encoding="utf-8")
    (tmp_path / "b.json").write_text('{"alone": {}}', encoding="utf-8")
    path = write(tmp_path, GOOD.replace("choices: [split, alone]", "choices_from: [a.yaml, b.json]"))
    program = read_program(path)
    assert (program.parameters or {})["mode"].choices == ("split", "alone")
    with pytest.raises(ValueError, match="'alon' is not allowed: one of split, alone; perhaps alone"):
        program.check("mode", "alon")
    for text, complaint in (("{", "b.json is not JSON"), ("[]", "choices is a mapping")):
        (tmp_path / "b.json").write_text(text, encoding="utf-8")
        with pytest.raises(BadInputError, match=complaint):
            read_program(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("batch: size", "batch: sise"), r"'sise' is no parameter of this program"),
        (("count: hands", "count: mode"), r"parameter 'mode' is no whole number"),
        (("count: hands", "count: 1.5"), r"count.program.yaml:5: roles.worker.count"),
        (("worker: {count: hands, may_die: 1}", "worker: {ends: serves}"), r"no role finishes"),
        (
            ("on: first", "on: everywhere"),
            r"count.program.yaml:4: roles.boss.on: 'everywhere' is no place: each, first",
        ),
        (("when: {mode: split}}\n  w", "when: {mood: split}}\n  w"), r"roles.boss: 'mood' is no parameter"),
        (("alone: {mode: alone}", "alone: {mode: aloof}"), r"alone.mode: 'aloof' is not allowed: one of split, alone"),
        (
            ("minimum: 1, default: 8", "minimum: 9, default: 8"),
            r"9: parameters.size: 8 is not allowed: a whole number of at",
        ),
        (
            ("default: false", "defalt: false"),
            r"yaml:12: unknown key 'parameters.shared.defalt' \(known here: type, help,",
        ),
        (("type: text", "type: text, minimum: 1"), r"parameters.label: text has no bounds"),
        (("choices: [split, alone]", "choices_from: none.yaml"), r"cannot read choices"),
        (("command: count.py", "command: other.py"), r"there is no file .*other.py"),
        (("batch: size", "batch: size\nbatch: size"), r"key 'batch' is there twice"),
        (("batch: size", "batch: size\ndashboard: size"), r"dashboard: parameter 'size' is not true or false"),
        (("batch: size", "batch: size\ndashboard: lights"), r"dashboard: 'lights' is no parameter of this program"),
        (("batch: size", "batch: size\nestimates: need.py"), r"estimates: there is no file .*need.py"),
        (("batch: size", 'batch: size\nestimates: "a\\0b"'), r"estimates: there is no file"),
        (("batch: size", "batch: size\nstrategies: {a: {speed: 1}}"), r"strategies.a: 'speed' is no parameter of this"),
        (("batch: size", "batch: size\nstrategies: {a: {mode: aloof}}"), r"strategies.a.mode: 'aloof' is not allowed"),
        (
            ("batch: size", "batch: size\nfiles: {trial.json: {role: boss}}"),
            r"files: 'trial.json' must be a plain name",
        ),
        (("batch: size", "batch: size\nfiles: {../x.html: {role: boss}}"), r"files: '../x.html' must be a plain name"),
        (("batch: size", "batch: size\nfiles: {x.html: {role: chief}}"), r"files.x.html: 'chief' is no role of this"),
        (("batch: size", "batch: size\nfiles: {x.html: {role: boss, when: {a: 1}}}"), r"files.x.html: 'a' is no param"),
        (("  size:", "  Size:"), r"'Size' must be a lower-case word"),
        (("boss: {", "node: {"), r"roles.node: trials.csv has a column nodes; give the role another name"),
        (("boss: {", "worker1: {"), r"roles.worker1: ranks of worker may have this name"),
        (
            ("count: hands", "count: -1"),
            r"yaml:5: roles.worker.count: Input should be greater than or equal to 0 or a v",
        ),
        (("batch: size", "parameters_from: e.yaml\nonly: size"), r"only: 'size' is no list of parameters"),
        (("parameters:\n", "parameters_from: e.yaml\nparameters: [1]\ncontrol:\n"), r"parameters: a mapping of names"),
    ],
)
def test_a_fault_of_a_description_names_its_place(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(BadInputError, match=says):
        read_program(write(tmp_path, GOOD.replace(*change)))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("size", "abc", "a whole number of at least 1"),
        ("size", -3, "a whole number of at least 1"),
        ("size", 2.0, "a whole number"),
        ("size", True, "a whole number"),
        ("rate", 0, "a number above 0 and at most 1"),
        ("rate", float("nan"), "a number above 0"),
        ("rate", float("inf"), "a number above 0"),
        ("rate", "0,05", "decimals take a point"),
        ("mode", "foo", "one of split, alone"),
        ("shared", "yes", "true or false"),
        ("shared", 1, "true or false"),
        ("label", True, "a text"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_file_line_and_key(
    tmp_path: Path, name: str, value: Any, allowed: str
) -> None:
    write(tmp_path, experiment={"parameters": {name: value}})
    with pytest.raises(BadInputError, match=rf"e\.yaml:4: parameters\.{name}: .*{allowed}") as refused:
        load_experiment(tmp_path / "e.yaml")
    assert refused.value.exit_code == 2
    assert "harness programs count.py" in refused.value.remedy


@pytest.mark.parametrize("place", ["axes", "variants", "unknown"])
def test_values_are_checked_wherever_they_stand(tmp_path: Path, place: str) -> None:
    experiment: dict[str, Any] = {"parameters": {"size": 1}}
    experiment |= {
        "axes": {"axes": {"size": [1, 0]}},
        "variants": {"variants": {"v": {"parameters": {"size": 0}}}},
        "unknown": {"parameters": {"seize": 1}},
    }[place]
    write(tmp_path, experiment=experiment)
    says = {"axes": "axes.size: 0", "variants": "variants.v.parameters.size: 0", "unknown": "has no such parameter"}
    with pytest.raises(BadInputError, match=rf"e\.yaml:\d+: .*{says[place]}"):
        load_experiment(tmp_path / "e.yaml")


def test_what_an_experiment_does_not_mention_can_be_set_all_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    changed = with_overrides(load_experiment(tmp_path / "e.yaml"), settings=["size=4,8", "label=1"])
    assert changed.axes.parameters == {"size": [4, 8]}
    assert changed.parameters["label"] == "1"
    with pytest.raises(BadInputError, match=r"command line: parameters\.size: 0 is not allowed"):
        with_overrides(changed, settings=["size=0"])
    with pytest.raises(BadInputError, match="a comma parts several values") as refused:
        with_overrides(changed, settings=["rate=0,05"])
    assert refused.value.remedy == "decimals take a point: 0.05"


def test_what_means_nothing_is_refused_unless_it_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, experiment={"parameters": {"mode": "alone", "shared": False}})
    experiment = load_experiment(tmp_path / "e.yaml")
    (trial,) = expand(experiment)
    assert trial.program.passed(trial.parameters) == {"mode": "alone"}
    with pytest.raises(BadInputError, match="shared: True means nothing here: only with mode=split"):
        expand(with_overrides(experiment, settings=["shared=true"]))


def test_roles_follow_the_values(tmp_path: Path) -> None:
    write(tmp_path, experiment={"parameters": {"mode": "split", "hands": 2}, "axes": {"mode": ["split", "alone"]}})
    split, alone = expand(load_experiment(tmp_path / "e.yaml"))
    assert (list(split.roles), list(alone.roles)) == (["boss", "worker"], ["worker"])
    assert split.program.count_of(split.roles["worker"], split.parameters) == 2
    assert split.program.count_of(split.roles["boss"], split.parameters) is None
    assert split.program.passed(split.parameters) == {"mode": "split"}
    assert load_experiment(tmp_path / "e.yaml").recorded_parameters() == ["mode"]


@pytest.mark.parametrize("values", [["a/b", "a_b"], [32, 32], ["x", "x"]])
def test_two_trials_that_would_have_one_id_are_refused(tmp_path: Path, values: list[Any]) -> None:
    (tmp_path / "mine.py").touch()
    text = yaml.safe_dump({"name": "e", "program": "mine.py", "parameters": {"tag": 1}, "axes": {"tag": values}})
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(BadInputError, match=r"e\.yaml:2: axes\.tag: .* would name one trial"):
        load_experiment(tmp_path / "e.yaml")


def test_a_program_without_a_description_is_plain(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    program = find_program("mine.py", tmp_path)
    assert (program.framework, program.events, program.runtime, list(program.roles)) == ("plain", False, (), ["worker"])
    assert program.path == tmp_path / "mine.py"
    (trial,) = expand(validate({"name": "e", "program": "mine.py", "parameters": {"x": "y"}}, "e", directory=tmp_path))
    assert trial.program.passed(trial.parameters) == {"x": "y"}


def test_a_users_program_goes_before_a_packaged_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    assert find_program("train.py", tmp_path).path == tmp_path / "train.py"
    assert find_program("train.py").path == EXPERIMENTS / "programs" / "train.py"
    assert find_program("train", tmp_path / "nowhere").command == "train.py"


@pytest.mark.parametrize("program", bundled_programs(), ids=lambda program: program.name)
def test_every_packaged_program_says_what_its_parameters_are(program: Program) -> None:
    assert program.description
    for parameter in (program.parameters or {}).values():
        assert parameter.help.endswith(".")
    assert program.parameters is None or program.batch is None or program.check(program.batch, 64) == 64


@pytest.mark.parametrize("program", bundled_programs(), ids=lambda program: program.name)
def test_a_description_that_a_manifest_keeps_names_no_place_of_this_machine(program: Program) -> None:
    for parameter in (program.parameters or {}).values():
        sources = parameter.choices_from or ()
        for source in [sources] if isinstance(sources, str) else sources:
            assert not Path(source).is_absolute()


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_packaged_experiment_has_what_tells_its_control(path: Path) -> None:
    """Else no row of its runs would be known as one of the control, and no node could be measured by itself."""
    declared = load_experiment(path)
    assert set(declared.program_of("").control) <= set(declared.parameters)


def test_choices_may_have_conditions() -> None:
    parameter = Parameter(type="choice", choices=("a", "b"), choices_when={"b": {"m": ["x"]}}, default="a", help="H.")
    assert parameter.misplaced("b", {"m": "y"}) == "b means nothing here: only with m=x"
    assert parameter.misplaced("b", {"m": "x"}) == ""


def test_a_program_that_is_no_python_has_its_description_beside_it(tmp_path: Path) -> None:
    (tmp_path / "count.sh").touch()
    write(tmp_path)
    assert find_program("count.sh", tmp_path).parameters is None  # it is count.py's
    write(tmp_path, GOOD.replace("command: count.py", "command: count.sh"))
    found = find_program("count.sh", tmp_path)
    assert (found.path.name, found.batch) == ("count.sh", "size")


def test_a_parameter_may_count_the_role_whose_column_has_its_name(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("hands", "workers").replace(", passed: false", ""), {"parameters": {"workers": 2}})
    experiment = load_experiment(tmp_path / "e.yaml")
    assert experiment.recorded_parameters() == []
    (trial,) = expand(experiment)
    assert trial.program.passed(trial.parameters) == {"workers": 2}


def test_a_list_is_no_value_of_a_parameter(tmp_path: Path) -> None:
    write(tmp_path, experiment={"parameters": {"size": [1, 2]}})
    says = r"e.yaml:4: parameters.size: Input should be a valid boolean or a valid integer or a valid number or a valid string"
    with pytest.raises(BadInputError, match=says):
        load_experiment(tmp_path / "e.yaml")


def test_null_leaves_out_what_a_variants_program_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "other.py").touch()
    (tmp_path / "other.program.yaml").write_text(
        "command: other.py\nparameters: {size: {type: int, maximum: 4, help: Less.}}\n", encoding="utf-8"
    )
    variant = {"program": "other.py", "parameters": {"size": 4, "rate": None}}
    write(tmp_path, experiment={"parameters": {"size": 8, "rate": 0.1}, "variants": {"other": variant}})
    (trial,) = expand(load_experiment(tmp_path / "e.yaml"))
    assert trial.parameters == {"size": 4, "rate": None}


def test_a_dashboard_is_asked_for_by_the_parameter_that_the_description_names(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("batch: size", "batch: size\ndashboard: shared"), {"parameters": {"size": 1}})
    experiment = with_dashboard(load_experiment(tmp_path / "e.yaml"))
    assert experiment.parameters == {"size": 1, "shared": True}
    write(tmp_path)
    with pytest.raises(BadInputError, match=r"--dashboard: count.py has no dashboard"):
        with_dashboard(load_experiment(tmp_path / "e.yaml"))


def test_files_are_left_where_their_condition_holds(tmp_path: Path) -> None:
    files = "files: {x.html: {role: boss, when: {shared: true}}, y.csv: {role: boss}, z.csv: {role: worker}}"
    program = read_program(write(tmp_path, GOOD.replace("batch: size", f"batch: size\n{files}")))
    assert program.files_of({"shared": True}) == {"boss": ("x.html", "y.csv"), "worker": ("z.csv",)}
    assert program.files_of({}) == {"boss": ("y.csv",), "worker": ("z.csv",)}
