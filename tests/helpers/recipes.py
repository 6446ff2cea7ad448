"""The recipes of docs/extending.md: read from the page, and carried out in a copy of the repository."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local_nodes import write_inventory

from harness.paths import REPOSITORY

NEW, APPEND, CHANGE = "New file", "Append to", "Change"
RUN, RUN_PROVISIONED, RUN_AS_ROOT = "Run", "Run on provisioned nodes", "Run as root"
OUTPUT = "Part of the output"
SECONDS = 300

_BLOCK = re.compile(r"^\*\*([^*\n]+)\*\*(?: `([^`\n]+)`)?:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(#[^)]+\) \| (\d+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of a recipe: what is to be done with it, the file that it is about (or none), and its text."""

    action: str
    file: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """A section of the page; `title` is its heading."""

    title: str
    blocks: Sequence[Block]

    @property
    def files(self) -> set[str]:
        """The files that it makes or changes; tests of the harness itself and pages count too."""
        return {block.file for block in self.blocks if block.file}


def page() -> str:
    """docs/extending.md."""
    assert REPOSITORY is not None
    return (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")


def recipes() -> dict[str, Recipe]:
    """All recipes, by title."""
    sections = [section.partition("\n") for section in page().split("\n## ")[1:]]
    return {title: Recipe(title, [Block(*found) for found in _BLOCK.findall(text)]) for title, _, text in sections}


def table() -> dict[str, int]:
    """The table at the head of the page: by recipe, how many files it touches."""
    return {title: int(files) for title, files in _ROW.findall(page())}


def outputs_missing(blocks: Sequence[Block], said: str) -> list[str]:
    """The lines that the recipe promises and that were not said; spaces and line breaks of the terminal do not count."""
    flat = " ".join(said.split())
    promised = [line for block in blocks if block.action == OUTPUT for line in block.text.splitlines()]
    return [line for line in promised if " ".join(line.split()) not in flat]


@dataclass
class Copy:
    """A copy of the repository, with an inventory of three nodes that are this machine, and a place for their things.

    The nodes have no runtime at first.
    """

    directory: Path
    said: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the commands that differ from the usual."""

    def __post_init__(self) -> None:
        assert REPOSITORY is not None
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.split("\0")  # fmt: skip
        for name in filter(None, listed):
            target = self.tree / name
            if (REPOSITORY / name).exists() and not name.startswith("docs/results/"):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
        self._make_nodes()
        self._make_commands()

    @property
    def tree(self) -> Path:
        """The repository's copy."""
        return self.directory / "repository"

    @property
    def node_root(self) -> Path:
        """What all nodes share."""
        return self.directory / "node"

    def apply(self, recipe: Recipe) -> None:
        """Make and change the files as the recipe says."""
        for block in recipe.blocks:
            if block.file:
                _EDITS[block.action](self.tree / block.file, block.text)

    def install_runtime(self, runtime: Path) -> None:
        """Let the nodes have this directory as their runtime."""
        (self.node_root / "runtime").symlink_to(runtime)

    def install_runtime_without_mxnet(self) -> None:
        """This interpreter as the nodes' runtime."""
        binaries = self.node_root / "runtime" / "bin"
        binaries.mkdir(parents=True)
        state = {"python": platform.python_version(), "stores": []}
        (binaries.parent / "runtime.json").write_text(json.dumps(state), encoding="utf-8")
        _script(binaries / "python", f'exec "{sys.executable}" "$@"')

    def carry_out(self, recipe: Recipe, *kinds: str) -> str:
        """Do all that the recipe says, in its order, of the commands those of these kinds; what they said."""
        before = len(self.said)
        for block in recipe.blocks:
            if block.file:
                _EDITS[block.action](self.tree / block.file, block.text)
            elif block.action in kinds:
                self.run(block.text)
        return "\n".join(self.said[before:])

    def run_all(self, recipe: Recipe, kind: str) -> str:
        """Run a recipe's commands of one kind; what they said."""
        return "\n".join(self.run(block.text) for block in recipe.blocks if block.action == kind)

    def run(self, commands: str) -> str:
        """Run shell commands in the copy; the test fails with any of them. Returns what they said, errors too."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.tree, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        self.said.append(done.stdout)
        return done.stdout

    def _environment(self) -> dict[str, str]:
        dropped = ("HARNESS_", "DMLC_", "PYTEST_", "ANSIBLE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {
            **kept,
            "PATH": f"{self.directory / 'bin'}:{kept['PATH']}",
            "PYTHONPATH": str(self.tree),
            "HARNESS_INVENTORY": str(self.directory / "hosts.json"),
            "HARNESS_CACHE_DIR": str(self.directory / "cache"),
            "HARNESS_STATE_DIR": str(self.directory / "state"),
            "ANSIBLE_NOCOLOR": "1",
            "COLUMNS": "200",
            **self.environment,
        }

    def _make_nodes(self) -> None:
        hosts = {f"local-{number}": f"127.0.18.{number}" for number in (1, 2, 3)}
        write_inventory(self.directory / "hosts.json", self.node_root, hosts, node_threads=1)
        self.node_root.mkdir()
        (self.node_root / ".harness-node").touch()

    def _make_commands(self) -> None:
        """What the page calls `python` and `harness`."""
        (self.directory / "bin").mkdir()
        _script(self.directory / "bin" / "python", f'exec "{sys.executable}" "$@"')
        _script(self.directory / "bin" / "harness", f'exec "{sys.executable}" -m harness "$@"')


def _make(path: Path, text: str) -> None:
    assert not path.exists(), f"{path} is there already"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _append(path: Path, text: str) -> None:
    between = "\n\n" if path.suffix == ".py" else ""
    path.write_text(path.read_text(encoding="utf-8") + between + text, encoding="utf-8")


def _change(path: Path, text: str) -> None:
    lines = [(line[:1], line[1:]) for line in text.splitlines()]
    assert {mark for mark, _ in lines} <= {"-", "+", " "}, text
    old, new = ("".join(f"{line}\n" for mark, line in lines if mark in f"{kept} ") for kept in "-+")
    content = path.read_text(encoding="utf-8")
    assert content.count(old) == 1, f"{path} has this {content.count(old)} times:\n{old}"
    path.write_text(content.replace(old, new), encoding="utf-8")


_EDITS: dict[str, Callable[[Path, str], None]] = {NEW: _make, APPEND: _append, CHANGE: _change}


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
