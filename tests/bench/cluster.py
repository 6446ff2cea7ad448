"""From nothing to provisioned nodes: how long, and is the second time really nothing?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.bench.row import Row, at_most
from tests.bench.stage import BenchError, Stage

UP_SECONDS = 60.0
SECOND_SITE_SECONDS = 60.0


def measure(stage: Stage) -> Iterator[Row]:
    """Bring up, provision, provision again; the cluster stays."""
    stage.down()
    stage.up(1)  # builds the root file system where it is not in the cache yet
    stage.down()
    seconds = stage.up(stage.nodes).seconds
    answering = [node for node in json.loads(_status(stage)) if node["ssh"]]
    if len(answering) != stage.nodes:
        raise BenchError(f"only {len(answering)} of {stage.nodes} nodes answer SSH after `up`")
    yield Row(f"{stage.nodes} nodes up and answering SSH", "s", (seconds,), at_most(UP_SECONDS))
    first = stage.playbook()
    yield Row("site.yml on fresh nodes", "s", (first.seconds,), note=f"changed={first.changed}")
    second = stage.playbook()
    yield Row("site.yml again", "s", (second.seconds,), at_most(SECOND_SITE_SECONDS))
    yield Row("site.yml again: hosts' changes", "", (second.changed,), at_most(0))


def _status(stage: Stage) -> str:
    return stage.harness("cluster", "status", "--name", stage.cluster, "--json").output
