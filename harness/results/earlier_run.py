"""The run that is to be resumed: its manifest, read with suspicion, and what has changed since."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.contract.json_line import Json, parse_json
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment
from harness.experiment.rates import Rates
from harness.results.manifest import LAYOUT, experiment_digest
from harness.results.opening import open_run
from harness.results.redaction import kept_experiment
from harness.results.run_paths import RunPaths

_REMEDY = "put it back as the harness wrote it, or start a new run without --resume"
_NEEDED: dict[str, type] = {"experiment": dict, "experiment_sha256": str, "code_sha256": str, "cluster": dict}


@dataclass(frozen=True)
class EarlierRun:
    """A run that some trials may be missing of."""

    paths: RunPaths
    manifest: Json


def open_earlier_run(run: Path) -> EarlierRun:
    """The run directory that a user named, and its manifest.

    Raises BadInputError where it is none, where its manifest is torn or odd, or where another version of the harness wrote it.
    """
    paths = open_run(run)
    try:
        manifest = parse_json(paths.manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot read {paths.manifest}: {error.strerror or error}", "make it readable") from None
    except ValueError:
        raise BadInputError(f"{paths.manifest} is torn or was changed: it is no JSON", _REMEDY) from None
    if not isinstance(manifest, dict):
        raise BadInputError(f"{paths.manifest} is no manifest: it is no JSON object", _REMEDY)
    layout = manifest.get("layout")
    if isinstance(layout, bool) or layout != LAYOUT:
        versions = manifest.get("versions")
        version = str(versions.get("harness", "unknown"))[:20] if isinstance(versions, dict) else "unknown"
        raise BadInputError(
            f"{paths.root} was made by version {version} of the harness, whose runs this one cannot continue",
            "start a new run; `harness report` still reads the earlier one",
        )
    for key, kind in _NEEDED.items():
        if not isinstance(manifest.get(key), kind):
            raise BadInputError(f"{paths.manifest} is no manifest: its {key} is absent or of a wrong type", _REMEDY)
    dilation = manifest["cluster"].get("time_dilation", 1)
    if isinstance(dilation, bool) or not isinstance(dilation, int | float):
        raise BadInputError(f"{paths.manifest} is no manifest: its time_dilation is no number", _REMEDY)
    return EarlierRun(paths, manifest)


def differences(
    earlier: EarlierRun, experiment: Experiment, code: str, rates: Rates | None, dilation: float
) -> list[str]:
    """What has changed since an earlier run, in words; nothing where it ran the same on the same. Pure."""
    manifest, changed = earlier.manifest, []
    if manifest["experiment_sha256"] != experiment_digest(experiment):
        before, now = manifest["experiment"], json.loads(kept_experiment(experiment).model_dump_json())
        changed += [f"{key}: {before.get(key)} -> {now[key]}" for key in now if now[key] != before.get(key)]
        changed = changed or ["the experiment"]
    if manifest["code_sha256"] != code:
        changed.append(f"the programs or files beside them: {manifest['code_sha256']} -> {code}")
    if manifest.get("rates") != (rates.as_json() if rates else None):
        changed.append("the nodes' rates")
    then = manifest["cluster"].get("time_dilation", 1)
    if then != dilation:
        changed.append(f"the cluster's time dilation: {then:g} -> {dilation:g}")
    return changed
