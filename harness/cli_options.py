"""What verbs of the command line have in common: their options, and what those stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.experiment import Experiment, load_experiment, with_overrides
from harness.inventory import Cluster, Node, load_cluster
from harness.paths import EXPERIMENTS, REPOSITORY
from harness.virtual.state import default_inventory

Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        help="Ansible inventory.",
        envvar="HARNESS_INVENTORY",
        show_default="the virtual cluster's if one is up, else inventory/local",
    ),
]
DEFAULT_EXPERIMENT = EXPERIMENTS / "scaling.yaml"
ExperimentFile = Annotated[
    Path,
    typer.Argument(help="The experiment's YAML file.", metavar="[EXPERIMENT]", show_default="experiments/scaling.yaml"),
]
Nodes = Annotated[
    str | None, typer.Option("--nodes", "-n", help="Cluster sizes, e.g. 1-4 or 1,2,4.", show_default="the experiment's")
]
Repeats = Annotated[
    int | None, typer.Option("--repeats", "-r", help="How often to run every point.", show_default="the experiment's")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE[,VALUE...]", help="Set a parameter; several values sweep it."),
]
Environment = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set a rank's environment variable.")
]
Variants = Annotated[
    list[str] | None, typer.Option("--variant", help="Only this variant of the experiment (repeatable).")
]
RatesFile = Annotated[
    Path | None,
    typer.Option(
        "--batches-by-rate",
        metavar="RATES",
        help="Share each global batch by the nodes' speed: a `benchmark` run, or its rates.csv.",
        show_default="evenly",
    ),
]
RunDirectory = Annotated[
    Path, typer.Argument(help="A run directory, or an experiment's directory of runs.", metavar="RUN")
]


def find_cluster(inventory: Path | None) -> Cluster:
    """The cluster of an inventory; without one, of the virtual cluster that is up, or else of this machine."""
    return load_cluster(inventory or default_inventory() or REPOSITORY / "inventory" / "local")


def declared_experiment(
    path: Path,
    nodes: str | None,
    repeats: int | None,
    settings: list[str] | None,
    environment: list[str] | None,
    variants: list[str] | None,
) -> Experiment:
    """The experiment of a file with the command line's changes. Raises BadInputError."""
    return with_overrides(
        load_experiment(path),
        nodes=nodes,
        repeats=repeats,
        settings=settings or (),
        environment=environment or (),
        variants=variants or (),
    )


def first_nodes(cluster: Cluster, count: int | None) -> tuple[Node, ...]:
    """The cluster's first nodes, or all. Raises BadInputError where there are not as many."""
    return cluster.nodes if count is None else cluster.first(count)
