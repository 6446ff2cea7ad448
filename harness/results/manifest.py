"""The manifest: what was asked, on what, with which versions."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from typing import Any

from harness import __version__
from harness.check.preflight import Preflight
from harness.experiment.declaration import Experiment
from harness.experiment.plan import Trial
from harness.experiment.rates import Rates
from harness.nodes.inventory import Cluster
from harness.paths import REPOSITORY
from harness.results.redaction import kept_experiment, kept_words
from harness.results.rows import timestamp

LAYOUT = 2
"""Of run directories: raised whenever an earlier run cannot be continued in it. Runs before 0.2.0 have none."""

_LIBRARIES = ("ansible-core", "fabric", "paramiko", "numpy", "pandas", "matplotlib")


def experiment_digest(experiment: Experiment) -> str:
    """What tells a resumed sweep that it is the same one; nothing of a secret is in it, and another one may be given then."""
    return hashlib.sha256(kept_experiment(experiment).model_dump_json().encode()).hexdigest()


def make_manifest(
    experiment: Experiment,
    trials: Sequence[Trial],
    cluster: Cluster,
    preflight: Preflight,
    code: str,
    moment: datetime,
    rates: Rates | None = None,
) -> dict[str, Any]:
    """Everything needed to say what a run's numbers stand for."""
    return {
        "layout": LAYOUT,
        "started_at": timestamp(moment),
        "command": shlex.join(["harness", *kept_words(sys.argv[1:])]),
        "experiment": kept_experiment(experiment).model_dump(),
        "experiment_sha256": experiment_digest(experiment),
        "programs": {
            name: program.model_dump(mode="json", exclude_defaults=True)
            for name, program in experiment.programs().items()
        },
        "trials": [trial.id for trial in trials],
        "seeds": sorted({trial.seed for trial in trials if trial.seed is not None}),
        "code_sha256": code,
        "rates": rates.as_json() if rates else None,
        "git": git_revision(),
        "cluster": {
            "kind": cluster.kind,
            "inventory": str(cluster.inventory),
            "time_dilation": cluster.time_dilation,
            "link": cluster.link,
            "nodes": [
                {
                    "name": probed.node.name,
                    "address": probed.node.address,
                    "machine": probed.answer["machine"],
                    "cores": probed.answer["cores"],
                    "runtime": probed.answer["runtime"],
                }
                for probed in preflight.probed
            ],
            **_description(cluster),
        },
        "versions": {
            "harness": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def git_revision() -> dict[str, Any] | None:
    """The repository's revision and whether it was changed since; None outside a checkout."""
    if REPOSITORY is None:
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    with suppress(OSError, subprocess.SubprocessError):
        return {"revision": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    return None


def _description(cluster: Cluster) -> dict[str, Any]:
    """What the virtual cluster wrote about itself: profile, quota, link."""
    with suppress(OSError, ValueError):
        path = cluster.inventory.parent / "cluster.json"
        return {"virtual": json.loads(path.read_text(encoding="utf-8"))}
    return {}
