"""What the options of verbs stand for: the experiment of a name, the cluster of an inventory."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from harness.console import err
from harness.energy.metering import Metering, metering_of
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, load_experiment
from harness.experiment.overrides import with_overrides
from harness.experiment.secrets import settings_with_secrets
from harness.nodes.inventory import Cluster, Node
from harness.nodes.read_inventory import load_cluster
from harness.paths import EXPERIMENTS, INVENTORIES
from harness.units import bits_per_second
from harness.virtual.state import cluster_of, clusters_up, default_inventory, places_of


def find_experiment(name: Path) -> Path:
    """The file of an experiment: of this path, `NAME.yaml` in the working directory, or the one that comes with the harness.

    Raises BadInputError where there is none.
    """
    if name.is_file():
        return name
    if len(name.parts) == 1:
        file = f"{name.name.removesuffix('.yaml')}.yaml"
        for found in (Path(file), EXPERIMENTS / file):
            if found.is_file():
                return found
    known = ", ".join(sorted(path.stem for path in EXPERIMENTS.glob("*.yaml")))
    raise BadInputError(f"no experiment {name}: there is no such file", f"name a YAML file, or one of {known}")


def declared_experiment(
    name: Path,
    nodes: str | None,
    repeats: int | None,
    settings: list[str] | None,
    environment: list[str] | None,
    variants: list[str] | None,
) -> Experiment:
    """The experiment of a name with the command line's changes. Raises BadInputError."""
    return with_overrides(
        load_experiment(find_experiment(name)),
        nodes=nodes,
        repeats=repeats,
        settings=settings or (),
        environment=told_environment(environment),
        variants=variants or (),
    )


def told_environment(settings: list[str] | None) -> list[str]:
    """What `--env` sets: of a NAME alone, the value that it has here, which then stands on no command line.

    A secret that was given on the command line is warned of on stderr.
    """
    for name in settings_with_secrets(settings or ()):
        err.print(
            f"warning: every user of this machine sees {name} on the command line: export it, and give --env {name} alone",
            style="yellow",
            soft_wrap=True,
        )
    return [f"{each}={os.environ[each]}" if each in os.environ else each for each in settings or ()]


def sizes_that_fit(declared: Experiment, cluster: Cluster, nodes: str | None) -> Experiment:
    """The experiment without the sizes that the cluster has too few nodes for, with a note on stderr.

    Sizes that the user gave (`nodes`) are left as they are, and so are sizes of which none fits: those are an error later.
    """
    sizes = declared.axes.nodes
    fitting = [size for size in sizes if size <= len(cluster.nodes)]
    if nodes is not None or not fitting or fitting == sizes:
        return declared
    left_out = ", ".join(str(size) for size in sizes if size not in fitting)
    err.print(f"note: sizes left out, for the cluster has {len(cluster.nodes)} nodes: {left_out}", soft_wrap=True)
    return with_overrides(declared, nodes=",".join(map(str, fitting)))


def find_inventory(given: Path | None) -> Path:
    """The inventory that `-i` names; without it, that of the virtual cluster that is up, else this machine's.

    A name that is no path is that of a virtual cluster that is up, or of an inventory that comes with the harness.
    Which one is used is printed on stderr. Raises BadInputError where several clusters are up and none is named.
    """
    found = _named_inventory(given) if given else default_inventory() or INVENTORIES / "local"
    cluster = cluster_of(found)
    err.print(f"virtual cluster {cluster}: {found}" if cluster else f"inventory: {found}", soft_wrap=True)
    return found


def _named_inventory(given: Path) -> Path:
    if given.exists():
        return given
    if given.name in clusters_up() and len(given.parts) == 1:
        return places_of(given.name).inventory
    packaged = INVENTORIES / given
    if packaged.exists():
        return packaged
    names = [*clusters_up(), *sorted(path.name for path in INVENTORIES.iterdir() if path.is_dir())]
    raise BadInputError(f"inventory {given} does not exist", f"name a path, or one of {', '.join(names)}")


def find_cluster(inventory: Path | None, ask_become_pass: bool = False) -> Cluster:
    """The cluster that `-i` names; see find_inventory. With `ask_become_pass`, the password of sudo is asked for first.

    Raises BadInputError.
    """
    found = find_inventory(inventory)
    return load_cluster(found, asked_password() if ask_become_pass else None)


def find_metering(cluster: Cluster, meters: list[str] | None, idle_seconds: float, interval_seconds: float) -> Metering:
    """Whose power is known: by the inventory, and by the meters that the command line names. Raises BadInputError."""
    return metering_of(cluster, meters or (), idle_seconds, interval_seconds)


def rate_of(link: str | None) -> float | None:
    """The bits per second of a link that an option names, None without one. Raises BadInputError."""
    return float(bits_per_second(link)) if link else None


def asked_password() -> str:
    """The password of sudo that the user types, asked for in ansible-playbook's words: on the terminal, else on stdin.

    Raises BadInputError where none is given.
    """
    try:
        if password := getpass.getpass("BECOME password: "):
            return password
    except EOFError:
        pass
    raise BadInputError("no password was given", "type that of sudo on the nodes, or leave --ask-become-pass (-K) out")


def first_nodes(cluster: Cluster, count: int | None) -> tuple[Node, ...]:
    """The cluster's first nodes, or all. Raises BadInputError where there are not as many."""
    return cluster.nodes if count is None else cluster.first(count)
