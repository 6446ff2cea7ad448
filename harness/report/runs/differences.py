"""What differed between runs, out of their manifests; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.json_line import mapping
from harness.report.provenance import flatten

_KINDS = {
    "experiment": ("experiment", "rates"),
    "code": ("code_sha256", "git", "programs"),
    "boards": ("cluster",),
    "versions": ("versions",),
}
"""Kinds of differences, and the parts of a manifest that they are in."""

_NAMELESS = ("cluster.inventory", "experiment.name", "experiment.description")
"""Where it lies and what it is called makes no run another."""

ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in all runs: its kind, its name, and its value in each."""

    kind: str
    name: str
    values: tuple[str, ...]


def differences(manifests: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """What differs, by kind; what a run does not say is a dash."""
    found = []
    for kind, parts in _KINDS.items():
        said = [_flat(manifest, parts) for manifest in manifests]
        for name in dict.fromkeys(name for one in said for name in one):
            values = tuple(one.get(name) or ABSENT for one in said)
            if len(set(values)) > 1:
                found.append(Difference(kind, name, values))
    return found


def _flat(manifest: Mapping[str, Any], parts: Sequence[str]) -> dict[str, str]:
    """Parts of a manifest as values by dotted name; alike nodes are told once, by how many there are."""
    rows: dict[str, str] = {}
    for part in parts:
        value = manifest.get(part)
        if part == "cluster":
            nodes = mapping(value).get("nodes")
            named = [mapping(node) for node in nodes] if isinstance(nodes, list) else []
            rows |= _boards(named)
            value = {name: each for name, each in mapping(value).items() if name != "nodes"}
        rows |= {name: text for name, text in flatten(value, part) if name not in _NAMELESS and text}
    return rows


def _boards(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the nodes are, each value with its number of nodes; names and addresses make no other board."""
    found: dict[str, dict[str, int]] = {}
    for node in nodes:
        for name, text in flatten({key: node[key] for key in node if key not in ("name", "address")}):
            counts = found.setdefault(f"nodes.{name}", {})
            counts[text] = counts.get(text, 0) + 1
    rows = {
        name: "; ".join(f"{count} x {text}" for text, count in counts.items() if text) for name, counts in found.items()
    }
    return {"nodes": str(len(nodes)), **rows} if nodes else {}
