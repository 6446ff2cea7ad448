"""What controller and nodes agree on is written once: in `experiments/contract/wire.py`."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from harness.contract import wire
from harness.paths import EXPERIMENTS, REPOSITORY

COLUMNS = {*wire.EPOCH_KEYS, *wire.PHASE_KEYS, *wire.TRAFFIC_KEYS} - set(wire.EVENT_KINDS)
"""Tables and figures name the columns that they show: a wrong one fails there. Their list is written once: see below."""

KEYED = {"get", "number", "pop"}
"""What these are called with is the key of a record, not what it says."""

OTHER_MEANINGS = {
    # Words that are spelled like ours; by the beginning of the paths where that is so.
    # The receiver runs before anything of ours is on the node, so it imports nothing of ours.
    "agent": ("experiments/agent/receive.py", "ansible/roles/node/"),
    "probe": ("ansible/roles/node/",),  # Ansible runs it alone on a node
    "tasks": ("ansible/readmes.py",),  # a directory of a role
    "code": ("experiments/agent/receive.py", "ansible/roles/node/"),
    "runtime": (
        "experiments/agent/receive.py",
        "ansible/roles/node/",  # Ansible runs it alone on a node
        "harness/report/",  # a key of the manifest
        "harness/check/",  # what was looked at
    ),
    "runtimes": (
        "ansible/roles/node/",
        "ansible/roles/runtime/",
        "harness/check/",
    ),  # a directory of the cache; looked at
    "cpu_model": ("harness/cli/nodes/cluster.py",),  # the option of `cluster up`
    "data": (
        "ansible/roles/node/",
        "harness/check/",  # what was looked at
        "harness/experiment/datasets.py",  # a directory of the experiments, and the option
        "experiments/training/",
    ),
    "HARNESS_RANK": ("harness/cli/running/launch.py",),  # help
    "checkpoint": ("harness/results/run_paths.py",),  # a directory of a run directory
    "jobs": ("ansible/roles/node/", "ansible/roles/backup/"),
    "trials": (
        "ansible/roles/node/",
        "ansible/roles/backup/",
        "harness/results/",
        "harness/report/",
        "harness/analysis/",
        "harness/live/",
    ),  # a table and a directory of a run directory
    "telemetry": ("harness/report/",),  # a table
    "HARNESS_FOLLOWS_AFTER": (
        "ansible/roles/runtime/files/kvstore/",
    ),  # a part of the runtime, which imports nothing of ours
    "epoch": (
        "experiments/training/rules/",  # a cadence
        "harness/report/",
        "harness/predict/",
        "harness/export/",
        "harness/analysis/",
        "harness/launch/checkpoints.py",
        "experiments/training/checkpoint.py",
    ),  # a column, a key
    "wait": ("harness/report/",),  # phases that are spoken of
    "forward": ("harness/analysis/",),
    "backward": ("harness/analysis/",),
    "run": ("experiments/agent/hold.py", "harness/live/"),  # a key
    "stopped": ("harness/live/",),  # a run that was
    "stop": ("experiments/agent/ranks.py",),  # systemctl's verb
    "start": (
        "harness/check/",  # what was looked at
        "experiments/tasks/ray_nodes.py",  # a verb of Ray's command
        "harness/experiment/program.py",  # when a role joins
        "harness/launch/watch.py",
        "ansible/roles/base/library/",  # of a unit
    ),
    "started": ("harness/virtual/",),  # of a virtual node
    "exit": ("harness/virtual/", "harness/results/rows.py"),  # a shell's; the name of a record whose numbers are read
    "held": ("experiments/agent/receive.py", "ansible/roles/node/", "harness/cli/"),  # a heading
    "error": ("harness/nodes/agent.py", "harness/predict/"),  # a key; of a forecast
    "enter": ("harness/images/",),  # a step in making an image
    "lease": ("experiments/agent/files.py",),  # names of files that only the agent knows
    "output": ("experiments/agent/files.py",),
    # The values of an inventory's variable, where it is read.
    "process": ("harness/nodes/", "harness/launch/job.py", "ansible/roles/node/"),
    "systemd": ("harness/nodes/",),
}


def agreed() -> dict[str | bytes, str]:
    """Every text of the contract, with the name under which it stands there."""
    found: dict[str | bytes, str] = {}
    for name, value in vars(wire).items():
        if name.isupper():
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, str | bytes) and each not in COLUMNS and len(each) > 1:
                    found.setdefault(each, name)
    return found


@cache
def sources() -> list[Path]:
    directories = (REPOSITORY / "harness", EXPERIMENTS, REPOSITORY / "ansible")
    files = [path for directory in directories for path in directory.rglob("*.py")]
    return [path for path in files if not {"contract", "__pycache__"} & set(path.parts)]


@dataclass(frozen=True)
class Texts:
    """Of a file: the texts that it spells as values, compared, handed on, written, not as keys of records, and not in its
    docstrings; and those of every tuple, list and set. Both with their lines.
    """

    spelled: tuple[tuple[int, str | bytes], ...]
    lists: tuple[tuple[int, frozenset[object]], ...]


@cache
def texts_of(path: Path) -> Texts:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    others: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(slice=key):
                others.add(id(key))
            case ast.Dict(keys=keys):
                others |= {id(key) for key in keys if key is not None}
            case ast.Call(func=ast.Attribute(attr=name), args=[key, *_]) if name in KEYED:
                others.add(id(key))
            case ast.Expr(value=ast.Constant() as text):
                others.add(id(text))
    spelled, lists = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in others:
            spelled.append((node.lineno, node.value))
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            lists.append((node.lineno, frozenset(each.value for each in node.elts if isinstance(each, ast.Constant))))
    return Texts(tuple(spelled), tuple(lists))


def is_other(path: str, text: str | bytes) -> bool:
    return isinstance(text, str) and path.startswith(OTHER_MEANINGS.get(text, ("?",)))


def is_in(word: str, text: str | bytes) -> bool:
    return word == text or (isinstance(text, str) and word.startswith("HARNESS_") and word in text)


def test_nothing_that_both_sides_agree_on_is_spelled_twice() -> None:
    names, found = agreed(), []
    variables = [name for name in names if isinstance(name, str) and name.startswith("HARNESS_")]
    for path in sources():
        name = path.relative_to(REPOSITORY).as_posix()
        for line, text in texts_of(path).spelled:
            if text in names and not is_other(name, text):
                found.append(f"{name}:{line}: {text!r} is wire.{names[text]}")
            elif isinstance(text, str) and "HARNESS_" in text and not is_other(name, text):
                found += [
                    f"{name}:{line}: {each} is wire.{names[each]}"
                    for each in variables
                    if each in text and not is_other(name, each)
                ]
    assert found == []


def test_every_exception_is_one() -> None:
    files = {
        path.relative_to(REPOSITORY).as_posix(): {text for _, text in texts_of(path).spelled} for path in sources()
    }
    idle = [
        (word, start)
        for word, starts in OTHER_MEANINGS.items()
        for start in starts
        if not any(name.startswith(start) and any(is_in(word, text) for text in texts) for name, texts in files.items())
    ]
    assert idle == []


@pytest.mark.parametrize("sequence", [wire.PHASES, wire.EPOCH_KEYS, wire.TRAFFIC_KEYS, wire.EVENT_KINDS])
def test_a_list_of_the_contract_is_written_once(sequence: tuple[str, ...]) -> None:
    found = []
    for path in sources():
        for line, texts in texts_of(path).lists:
            if len(texts & set(sequence)) > len(sequence) / 2 and not is_other(
                path.relative_to(REPOSITORY).as_posix(), ""
            ):
                found.append(f"{path}:{line}")
    assert found == []


def test_the_nodes_file_is_the_controllers() -> None:
    assert (EXPERIMENTS / "contract" / "wire.py").samefile(REPOSITORY / "harness" / "contract" / "wire.py")


def test_kinds_and_reasons_are_listed_whole() -> None:
    values = {name: value for name, value in vars(wire).items() if name.isupper()}
    assert set(wire.FRAME_KINDS) == {value for name, value in values.items() if name.endswith("_FRAME")}
    assert len(set(wire.EXIT_REASONS)) == len(wire.EXIT_REASONS) == 7
    assert not set(wire.STREAM_VERBS) & set(wire.REPLY_VERBS)
