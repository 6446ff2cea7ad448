"""One archive of a run with everything to read it later, also without this harness."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.contract.columns import COLUMNS
from harness.contract.json_line import mapping, parse_json
from harness.errors import BadInputError
from harness.report.provenance import essentials
from harness.report.reference import columns_page
from harness.results.opening import refuse_unfinished
from harness.results.run_paths import RunPaths
from harness.system.archive import tar_bytes
from harness.system.files import write_whole


def pack(paths: RunPaths, manifest: Mapping[str, Any], file: Path) -> int:
    """Write the archive (tar, gzip) and return its number of files; its bytes depend on the run alone.

    Raises BadInputError where a harness still writes the run, the archive would lie within it, or it cannot be written.
    """
    refuse_unfinished(paths)
    if file.absolute().is_relative_to(paths.root):
        raise BadInputError(f"{file} lies within the run itself", "name another with --output")
    name = f"{paths.root.parent.name}-{paths.root.name}"
    try:
        found = {**{inner: (paths.root / inner).read_bytes() for inner in files_of(paths)}, **_made(paths, manifest)}
        sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(found.items()))
        found["SHA256SUMS"] = sums.encode()
        packed = tar_bytes({f"{name}/{path}": data for path, data in found.items()})
        write_whole(file.absolute(), gzip.compress(packed, mtime=0))
    except OSError as error:
        raise BadInputError(f"cannot write {file}: {error.strerror or error}", "name another with --output") from None
    return len(found)


def files_of(paths: RunPaths) -> Iterator[str]:
    """Every file of the run, as its path below it, but checkpoints and the lock; links lead elsewhere and are left out."""
    left_out = {paths.checkpoint("").name, paths.lock.name}
    for path in sorted(paths.root.rglob("*")):
        inner = path.relative_to(paths.root)
        if path.is_file() and not path.is_symlink() and left_out.isdisjoint(inner.parts):
            yield inner.as_posix()


def _made(paths: RunPaths, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """What is put beside the run's own files."""
    return {
        "README.md": _readme(paths, manifest).encode(),
        "columns.md": columns_page().encode(),
        "experiment.yaml": experiment_text(manifest).encode(),
    }


def experiment_text(manifest: Mapping[str, Any]) -> str:
    """The experiment of a run as YAML, changes of the command line included."""
    experiment = yaml.safe_dump(mapping(manifest.get("experiment")), sort_keys=False, allow_unicode=True)
    return f"---\n{experiment}"


def _readme(paths: RunPaths, manifest: Mapping[str, Any]) -> str:
    """What lies here, how it was measured, and how it is read."""
    files = {
        "manifest.json": "what was asked, on what, with which versions; `code_sha256` is the digest of the code on the nodes",
        "experiment.yaml": "the experiment, changes of the command line included",
        "report.html, figures/": "the report as it was made",
        **{file: "a table" for file in COLUMNS if (paths.root / file).is_file()},
        "trials/": "by trial: its record, its events and what its ranks printed",
        "columns.md": "every column of the tables, with unit and meaning",
        "SHA256SUMS": "check with `sha256sum -c SHA256SUMS`",
    }
    measured = "\n".join(f"- {name}: {value}" for name, value in essentials(manifest))
    listed = "\n".join(f"| `{name}` | {what} |" for name, what in files.items())
    command = str(manifest.get("command", "")) or "not known"
    return (
        f"# Run {paths.root.parent.name}/{paths.root.name}\n\nBegun {manifest.get('started_at', 'at a time not known')}:\n\n"
        f"    {command}\n\n## How it was measured\n\n{measured}\n\n## Files\n\n| file | what |\n| --- | --- |\n{listed}\n\n"
        "Tables are CSV files with a header, UTF-8, decimal points, empty where a value is not known; `rates.csv` begins with "
        "lines `# name: value`. With the harness, `harness report DIRECTORY` makes the report again.\n"
    )


def read_manifest(paths: RunPaths) -> dict[str, Any]:
    """The run's manifest. Raises BadInputError."""
    try:
        found = parse_json(paths.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(f"{paths.manifest} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise BadInputError(f"{paths.manifest} is no manifest")
    return found
