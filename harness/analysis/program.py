"""What the analysis must know of a run's program: which parameters play which part, and which roles do what.

It is in the manifest. For runs of before it was, the description is read that comes along with the program of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from harness.contract.json_line import mapping
from harness.errors import BadInputError
from harness.experiment.catalog import find_program

_ONE_PLACE = ("first", "controller", "host:")


@dataclass(frozen=True)
class Program:
    """The part of a program's description that numbers depend on; None or empty is what it does not say.

    `batch`, `epochs`, `limit` and `seed` are names of parameters. A trial whose parameters have the values of `control` is the
    control: the same nodes at the same time, training independently. `subject` names the parameters that a node's measured rate
    depends on; a step takes as long whatever those of `untimed` are. Ranks of the roles `finishing` are the workers; those of
    `sharing` hold a share of the parameters each.
    """

    name: str = ""
    batch: str | None = None
    epochs: str | None = None
    seed: str | None = None
    subject: tuple[str, ...] = ()
    control: Mapping[str, Any] = field(default_factory=dict)
    finishing: tuple[str, ...] = ("worker",)
    sharing: tuple[str, ...] = ()
    limit: str | None = None
    untimed: tuple[str, ...] = ()


def read_program(manifest: Mapping[str, Any]) -> Program:
    """The program of a run's experiment; what its description lacks, or is malformed, stays at its default."""
    name = str(mapping(manifest.get("experiment")).get("program") or "")
    described = mapping(mapping(manifest.get("programs")).get(name)) or packaged_description(name)
    roles = {str(role): mapping(about) for role, about in mapping(described.get("roles")).items()} or {"worker": {}}
    return Program(
        name=name,
        batch=_name(described.get("batch")),
        epochs=_name(described.get("epochs")),
        seed=_name(described.get("seed")),
        subject=_names(described.get("subject")),
        limit=_name(described.get("limit")),
        untimed=_names(described.get("untimed")),
        control=mapping(described.get("control")),
        finishing=tuple(role for role, about in roles.items() if not _serves(about)),
        sharing=tuple(role for role, about in roles.items() if _serves(about) and not _is_on_one_node(about)),
    )


@cache
def packaged_description(program: str) -> Mapping[str, Any]:
    """The description of a program that comes along, as a manifest has it; empty where there is no such program."""
    try:
        return find_program(program).model_dump()
    except BadInputError:
        return {}


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _serves(role: Mapping[str, Any]) -> bool:
    return role.get("ends") == "serves"


def _is_on_one_node(role: Mapping[str, Any]) -> bool:
    return str(role.get("on", "each")).startswith(_ONE_PLACE)


def _name(value: Any) -> str | None:
    return str(value) if value else None
