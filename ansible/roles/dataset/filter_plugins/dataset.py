"""What a data set's entry in experiments/data/datasets.yaml means for a node; pure but for the environment's directories."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

Entries = Mapping[str, Mapping[str, Any]]


def dataset_directory(entries: Entries, name: str, given: Mapping[str, str]) -> str:
    """The controller's directory with a data set's files: the given one, else the environment's, else empty."""
    return given.get(name) or os.environ.get(str(entries[name].get("directory")), "")


def dataset_faults(found: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> list[str]:
    """Compare what is on a node with what a data set must be.

    found: `{"manifest": dataset.json or None, "files": {file: SHA-256 of the content as it is now}}`, as node_state reads it.
    entry: of datasets.yaml; its `files` have `sha256`, `gzip_sha256`, or `member` of the entry's `archive`.
    Returns one phrase a fault.
    """
    files = (found or {}).get("files") or {}
    manifest = ((found or {}).get("manifest") or {}).get("files") or {}
    faults = []
    for name, wanted in entry["files"].items():
        written = manifest.get(name) or {}
        digests = {key: value for key, value in wanted.items() if key in ("sha256", "gzip_sha256")}
        if not digests:
            digests = {"archive_sha256": entry["archive"]["sha256"]}
        if not files.get(name):
            faults.append(f"{name} is absent")
        elif not written:
            faults.append(f"{name} is not in dataset.json")
        elif files[name] != written.get("sha256") or any(written.get(key) != value for key, value in digests.items()):
            faults.append(f"{name} has another content")
    return faults


def dataset_sentence(missing: Mapping[str, Any]) -> str:
    """One sentence of `{"key": name, "value": faults}`."""
    return f"data set {missing['key']}: {', '.join(missing['value'])}"


def datasets_missing(
    found: Mapping[str, Mapping[str, Any]], names: Iterable[str], entries: Entries
) -> dict[str, list[str]]:
    """The data sets of `names` that a node lacks, with their faults; those that travel with the code are never lacking."""
    faults = {
        name: dataset_faults(found.get(name), entries[name]) for name in names if not entries[name].get("embedded")
    }
    return {name: listed for name, listed in faults.items() if listed}


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {
            "dataset_directory": dataset_directory, "datasets_missing": datasets_missing, "dataset_sentence": dataset_sentence,
        }  # fmt: skip
