"""Where programs and their descriptions are found: beside the experiment that names them, or among those that come along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import BadInputError
from harness.experiment.faults import describe
from harness.experiment.program import Program
from harness.experiment.yaml_file import read_json, read_mapping
from harness.paths import PROGRAMS

DESCRIPTION = ".program.yaml"
_REMEDY = "see docs/reference/programs.md for the keys"


def find_program(name: str, directory: Path | None = None) -> Program:
    """The program that an experiment in `directory` names: `mine.py` or `mine`, there, below `programs/` there, or packaged.

    Without a description beside it, it is a plain program. Raises BadInputError where there is no such program, or its
    description is wrong.
    """
    own = [directory, directory / "programs"] if directory else []
    places = [*own, PROGRAMS]
    for place in [*own, *_bundled_places()]:
        try:
            found = _below(place, name)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadInputError(f"program {name[:80]} cannot be looked for: {reason}", "see harness programs") from None
        if found is not None:
            return found
    where = " or ".join(map(str, dict.fromkeys(places)))
    raise BadInputError(f"program {name} is not in {where}", "name a file there, or one of: harness programs")


def bundled_programs() -> list[Program]:
    """The programs that come along, by name. Raises BadInputError where a description is wrong."""
    found = [path for place in _bundled_places() for path in place.glob(f"*{DESCRIPTION}")]
    return [read_program(path) for path in sorted(found, key=lambda path: path.name)]


def _bundled_places() -> list[Path]:
    """The packaged programs' folder, and those in it."""
    return [PROGRAMS, *sorted(path for path in PROGRAMS.iterdir() if path.is_dir())]


def _sources(parameter: dict[str, Any]) -> list[str]:
    """What a parameter's choices are taken from."""
    value = parameter.get("choices_from")
    listed = value if isinstance(value, list) else [value]
    return [source for source in listed if isinstance(source, str)]


def _choices_in(source: Path) -> list[str]:
    """The top-level keys of a YAML or JSON file, or the names of the Python modules of a directory."""
    if source.is_dir():
        return sorted(module.stem for module in source.glob("[!_]*.py"))
    if source.suffix == ".json":
        return list(read_json(source, "choices"))
    return list(read_mapping(source, "choices")[0])


def read_program(path: Path) -> Program:
    """The program that a description beside it describes.

    Raises BadInputError that names file, line and key of the first fault, or the program's file where there is none.
    """
    document, lines = read_mapping(path, "a program's description", _REMEDY)
    document = _with_shared_parameters(document, path)
    for parameter in _mappings(document.get("parameters")):
        if sources := _sources(parameter):
            parameter["choices"] = [name for source in sources for name in _choices_in(path.parent / source)]
    try:
        program = Program.model_validate(document)
    except ValidationError as error:
        raise BadInputError(describe(error, str(path), lines, Program), _REMEDY) from None
    found = program.at(program.command, path.parent.resolve())
    if not found.path.is_file():
        raise BadInputError(
            f"{path}: command: there is no file {found.path}", "name the program's file, beside this one"
        )
    if found.estimator and not _is_file(found.estimator):
        raise BadInputError(f"{path}: estimates: there is no file {found.estimator}", "name a file, or leave it out")
    return found


def _with_shared_parameters(document: dict[str, Any], path: Path) -> dict[str, Any]:
    """The description with what `parameters_from` (another description) and `only` (names) stand for."""
    source, only = document.pop("parameters_from", None), document.pop("only", None)
    if source is None:
        return document
    if only is not None and not isinstance(only, list):
        raise BadInputError(f"{path}: only: {only!r} is no list of parameters", _REMEDY)
    other = path.parent / str(source)
    shared = read_mapping(other, "a program's description")[0].get("parameters") or {}
    own = document.get("parameters") or {}
    for where, parameters in ((other, shared), (path, own)):
        if not isinstance(parameters, dict):
            raise BadInputError(f"{where}: parameters: a mapping of names to what each is", _REMEDY)
    missing = [str(name) for name in only or () if name not in shared]
    if missing:
        raise BadInputError(
            f"{path}: only: {source} has no parameter {', '.join(missing)}", f"it has {', '.join(shared)}"
        )
    taken = {name: value for name, value in shared.items() if only is None or name in only}
    for parameter in _mappings(taken):
        if sources := _sources(parameter):  # which are relative to the other description
            parameter["choices_from"] = [os.path.relpath(other.parent / source, path.parent) for source in sources]
    return {**document, "parameters": {**taken, **own}}


def _below(place: Path, name: str) -> Program | None:
    """The program of this name in a directory, None where there is none; nothing above the directory is looked at."""
    path = (place / name).resolve()
    if place.resolve() not in path.parents:
        return None
    description = path.with_name(path.name.removesuffix(".py") + DESCRIPTION)
    if description.is_file():
        return read_program(description).at(name, description.parent)
    if not path.is_file():
        return None
    # Of `mine.sh` it may be `mine.program.yaml`, unless that is of `mine.py`.
    description = path.with_name(path.stem + DESCRIPTION)
    described = read_program(description) if description.is_file() else None
    found = described if described and described.command == path.name else Program(command=path.name)
    return found.at(name, path.parent)


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [each for each in value.values() if isinstance(each, dict)] if isinstance(value, dict) else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False
