"""What a plan looks like to a person, and to a program."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.table import Table

from harness.check.memory import placed_within_memory
from harness.console import out
from harness.experiment.declaration import Experiment
from harness.experiment.plan import expand
from harness.experiment.rates import Rates
from harness.launch.code import code_of
from harness.launch.placement import Placement
from harness.nodes.inventory import Cluster


def print_plan(declared: Experiment, cluster: Cluster, rates: Rates | None, *, as_json: bool) -> None:
    """Print the trials and where each rank goes. Raises BadInputError for what a sweep would refuse before it starts."""
    trials = expand(declared)
    code = code_of(declared.programs().values()).sent
    plans = [_as_json(placement) for placement in placed_within_memory(trials, cluster, code, rates)]
    if as_json:
        sys.stdout.write(json.dumps(plans, indent=2) + "\n")
        return
    out.print(
        f"{declared.name}: {len(trials)} trials on {cluster.inventory} ({cluster.kind}, {len(cluster.nodes)} nodes)",
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", overflow="fold")
    table.add_column("ranks", overflow="fold")
    if rates:
        table.add_column("batches", overflow="fold")
    for each in plans:
        ranks = "; ".join(f"{node}: {' '.join(names)}" for node, names in each["ranks"].items())
        table.add_row(each["trial"], ranks, *([" ".join(map(str, each["batch_sizes"])) or "even"] if rates else []))
    out.print(table)


def _as_json(placement: Placement) -> dict[str, Any]:
    return {
        "trial": placement.trial.id,
        "parameters": dict(placement.trial.parameters),
        "ranks": {node.name: [rank.name for rank in placement.on(node)] for node in placement.nodes},
        "batch_sizes": list(placement.batch_sizes),
        "command": list(placement.finishing[0].command),
    }
