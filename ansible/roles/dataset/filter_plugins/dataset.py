"""What a node's data set lacks; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def dataset_faults(found: Mapping[str, Any] | None, known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Compare what is on a node with what a data set must be.

    found: `{"manifest": dataset.json or None, "files": {file: SHA-256 of the content as it is now}}`, as node_state reads it.
    known: file to `{"sha256": ..}` or `{"gzip_sha256": ..}`. Returns one phrase a fault.
    """
    files = (found or {}).get("files") or {}
    manifest = ((found or {}).get("manifest") or {}).get("files") or {}
    faults = []
    for name, wanted in known.items():
        written = manifest.get(name) or {}
        if not files.get(name):
            faults.append(f"{name} is absent")
        elif not written:
            faults.append(f"{name} is not in dataset.json")
        elif files[name] != written.get("sha256") or any(written.get(key) != value for key, value in wanted.items()):
            faults.append(f"{name} has another content")
    return faults


def dataset_sentence(missing: Mapping[str, Any]) -> str:
    """One sentence of `{"key": name, "value": faults}`."""
    return f"data set {missing['key']}: {', '.join(missing['value'])}"


def datasets_missing(
    found: Mapping[str, Mapping[str, Any]], names: Iterable[str], known: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> dict[str, list[str]]:
    """The data sets of `names` that a node lacks, with their faults."""
    faults = {name: dataset_faults(found.get(name), known[name]) for name in names}
    return {name: listed for name, listed in faults.items() if listed}


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"datasets_missing": datasets_missing, "dataset_sentence": dataset_sentence}
