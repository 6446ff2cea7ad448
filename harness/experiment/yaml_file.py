"""Read YAML as its users mean it: every key once, plain words stay words, and a line for every key.

YAML 1.1 reads `on`, `yes` and `no` as truth values, `1:30` as a number to the base 60 and `1e-3` as a word. Here, as in YAML
1.2, only `true` and `false` are truth values, and numbers are decimal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import yaml

from harness.errors import BadInputError

KeyPath = tuple[str, ...]
Lines = Mapping[KeyPath, int]
"""The line of every key, by the keys that lead to it."""

_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL = re.compile(r"~|null|Null|NULL|")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base class has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a key that is there twice is an error."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{name}' is there twice, first on line {seen[name]}", key.start_mark
                )
            seen[name] = line
        return cast(dict[Any, Any], super().construct_mapping(node, deep))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
# A resolver asks `match`; what begins as a number but goes on is a word.
for _resolvers in _Loader.yaml_implicit_resolvers.values():
    _resolvers[:] = [(tag, re.compile(rf"(?:{pattern.pattern})\Z")) for tag, pattern in _resolvers]


def read_scalar(text: str) -> Any:
    """A value as a user types it on the command line: `64`, `0.05`, `true`, `null`, or a word."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError):  # a number of thousands of digits is none
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text


def read_mapping(path: Path, what: str, remedy: str = "") -> tuple[dict[str, Any], Lines]:
    """The mapping that a YAML file holds, and the line of every key.

    `what` says in errors what the file was to be. Raises BadInputError where it cannot be read, is no YAML, is no mapping or
    has a key twice; the message names file and line.
    """
    text = _text(path, what, remedy)
    try:
        document, lines = _parsed(text)
        document = deepcopy(document)  # the caller's own
    except RecursionError:
        raise BadInputError(f"{path} is not YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        if "is there twice" in problem:
            raise BadInputError(f"{place}: {problem}", "keep one of them") from None
        raise BadInputError(f"{place} is not YAML: {problem}") from None
    if not isinstance(document, dict):
        raise BadInputError(f"{path}: {what} is a mapping of keys to values", remedy)
    return {str(key): value for key, value in document.items()}, lines


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The mapping that a JSON file holds, as `read_mapping`: long lists are read many times faster than as YAML."""
    try:
        document = json.loads(_text(path, what))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInputError(f"{path}: {what} is a mapping of keys to values")
    return document


def _text(path: Path, what: str, remedy: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInputError(f"cannot read {what} {path}: {reason}", remedy) from None


@lru_cache(maxsize=32)  # the lists and descriptions that come along are asked for several times in every verb
def _parsed(text: str) -> tuple[Any, Lines]:
    """The document that a text holds, and the line of every key. Raises yaml.YAMLError, ValueError, RecursionError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node), dict(_key_lines(node, ()))
    finally:
        loader.dispose()


def line_of(lines: Lines, location: KeyPath) -> int | None:
    """The line of a key, or of the nearest key above it that has one."""
    return next((lines[location[:n]] for n in range(len(location), 0, -1) if location[:n] in lines), None)


def _key_lines(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)
