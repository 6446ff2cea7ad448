"""The code of an experiment's programs: what is sent to the nodes, and where a program lies there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError
from harness.experiment.program import Program
from harness.launch.placement import SentCode
from harness.nodes.agent import Code
from harness.paths import EXPERIMENTS, PROGRAMS

LARGEST_CODE_BYTES = 100 << 20


@dataclass(frozen=True)
class ProgramCode:
    """The packaged code, and the directories of the user's own programs."""

    agent: Code
    own: tuple[Code, ...]
    sent: SentCode

    @property
    def digest(self) -> str:
        """One name for all of it."""
        return "+".join([self.agent.hash, *(code.hash for code in self.own)])


def packaged_code() -> Code:
    """The agent and the packaged programs. Raises BadInputError where they cannot be read."""
    return Code.of(EXPERIMENTS, _is_declaration)


def code_of(programs: Iterable[Program]) -> ProgramCode:
    """What a node must have to run these programs. Raises BadInputError where it cannot be read or is too large."""
    agent, own, paths = packaged_code(), {}, {}
    for program in programs:
        if program.directory.is_relative_to(PROGRAMS.resolve()):
            paths[program.name] = f"{agent.hash}/{program.path.relative_to(EXPERIMENTS.resolve())}"
            continue
        if program.directory not in own:
            own[program.directory] = user_code(program.directory)
        paths[program.name] = f"{own[program.directory].hash}/{program.command}"
    return ProgramCode(agent, tuple(own.values()), SentCode(agent.hash, paths))


def user_code(directory: Path) -> Code:
    """A directory of the user's own: all of it but caches, hidden files and the results of earlier runs.

    Raises BadInputError where it cannot be read, or is so large that it was hardly meant.
    """
    try:
        results = {path.name for path in directory.iterdir() if path.is_dir() and _holds_runs(path)}
        size = 0
        for path in directory.rglob("*"):
            if path.is_file() and not _is_left_out(path.relative_to(directory), results):
                size += path.stat().st_size
            if size > LARGEST_CODE_BYTES:
                raise BadInputError(
                    f"{directory} is more than {LARGEST_CODE_BYTES >> 20} MiB, and would be sent to every node",
                    "put the program into a directory of its own",
                )
    except OSError as error:
        raise BadInputError(f"cannot read {directory}: {error}", "make it readable") from None
    return Code.of(directory, lambda relative: _is_left_out(relative, results))


def _is_declaration(relative: Path) -> bool:
    """Whether a packaged file is an experiment: those say what runs, and are no part of it."""
    return relative.suffix == ".yaml" and len(relative.parts) == 1


def _is_left_out(relative: Path, results: Collection[str]) -> bool:
    return relative.parts[0] in results or any(part.startswith(".") for part in relative.parts)


def _holds_runs(directory: Path) -> bool:
    """Whether it is a directory of results, or one of an experiment's runs (`--results .`)."""
    runs = (found.with_name("trials.csv") for found in directory.glob("*/manifest.json"))
    return any(directory.glob("*/*/manifest.json")) or any(trials.is_file() for trials in runs)
