"""The documents: links lead somewhere, commands that are shown exist, examples are accepted, pages are up to date."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli.group import load
from harness.cli.verbs import VERBS
from harness.experiment.catalog import DESCRIPTION, read_program
from harness.experiment.declaration import load_experiment
from harness.paths import REPOSITORY
from harness.report.reference import parameters_page

assert REPOSITORY is not None
ROOT: Path = REPOSITORY
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_LONGEST_README = 120


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: Path
    language: str
    text: str


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
            if language in languages:
                yield Block(page, language, text)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that a page's headings get."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{name_of(page)}: {target}"
        assert not anchor or anchor in anchors(found), f"{name_of(page)}: {target} has no such heading"


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(index.read_text("utf-8"))}
    pages = {page for page in PAGES if page.is_relative_to(index.parent) and page != index}
    assert {name_of(page) for page in pages - linked} == set()


def test_files_that_code_and_playbooks_name_exist() -> None:
    """`docs/...` in code, tests and playbooks."""
    folders = ("harness", "experiments", "ansible", "inventory", "tests")
    suffixes = (".py", ".yaml", ".yml", ".md", ".j2")
    for folder in folders:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in suffixes and file.is_file():
                for page in re.findall(r"docs/[\w/-]+\.md", file.read_text(encoding="utf-8")):
                    if page != "docs/env.md":  # ps-lite's
                        assert (ROOT / page).is_file(), f"{name_of(file)}: {page}"


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Every `harness ...` of a block of shell commands, split into words, without what stands before `harness`."""
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            places = [number for number, word in enumerate(words) if Path(word).name == "harness"]
            if places and all(word == "sudo" or "=" in word for word in words[: places[0]]):
                ours = words[places[0] + 1 :]
                ends = [number for number, word in enumerate(ours) if word in ("|", "||", "&&", ";")]
                yield block.page, ours[: ends[0]] if ends else ours


def options_of(command: Any) -> set[str]:
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts) if option[0] == "-"}


def check_command(words: list[str]) -> None:
    """Assert that the verb and the options of a command exist."""
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version"), words
        return
    assert words[0] in VERBS, words
    command = load(words[0])
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, words
        command, rest = command.commands[rest[0]], rest[1:]
    known = options_of(command) | {"--help"}
    for word in rest:
        if word == "--":
            break
        if re.match(r"--?[A-Za-z]", word):
            assert word.partition("=")[0] in known, f"{' '.join(words)}: {word}"


def test_commands_that_are_shown_exist() -> None:
    found = list(commands())
    assert len(found) > 50
    for page, words in found:
        try:
            check_command(words)
        except AssertionError as error:
            raise AssertionError(f"{name_of(page)}: {error}") from None


@pytest.mark.parametrize(
    "words", [["swep"], ["sweep", "--node", "4"], ["cluster", "upp"], ["check", "--nodes", "4", "--set"]]
)
def test_a_command_that_does_not_exist_is_found(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_command(words)


@pytest.mark.parametrize("block", list(blocks("yaml")), ids=lambda block: name_of(block.page))
def test_experiments_and_descriptions_that_are_shown_are_accepted(block: Block, tmp_path: Path) -> None:
    assert yaml.safe_load(block.text), "not YAML"
    found = re.search(r"^(program|command): (\S+)$", block.text, re.MULTILINE)
    if found is None:
        return
    kind, program = found.groups()
    if program != "train.py":
        (tmp_path / program).write_text("", encoding="utf-8")
    if kind == "command":
        file = tmp_path / f"{Path(program).stem}{DESCRIPTION}"
        file.write_text(block.text, encoding="utf-8")
        assert read_program(file).command == program
    else:
        file = tmp_path / "experiment.yaml"
        file.write_text(block.text, encoding="utf-8")
        assert load_experiment(file).program == program


def test_the_page_of_parameters_is_made_from_the_description() -> None:
    page = ROOT / "docs" / "reference" / "train.md"
    again = "python -m harness.report.reference train.py > docs/reference/train.md"
    assert page.read_text(encoding="utf-8") == parameters_page("train.py"), f"make it again: {again}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < _LONGEST_README
