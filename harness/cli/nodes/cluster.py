"""The verbs of `harness cluster`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.cli.group import verb_app
from harness.cli.options import AsJson, finite
from harness.console import out
from harness.errors import EXIT_CLUSTER, BadInputError
from harness.nodes.read_inventory import load_cluster
from harness.virtual import cluster
from harness.virtual.blueprint import ClusterRequest, Options
from harness.virtual.cpu.profile import PROFILES
from harness.virtual.cpu.speed import MODELS
from harness.virtual.down import down as remove_cluster
from harness.virtual.host.names import DEFAULT_NAME, MOST_NODES
from harness.virtual.host.rootfs import SUITES
from harness.virtual.machines import imitating
from harness.virtual.up import up as raise_cluster

app = verb_app("Virtual Raspberry Pi clusters on this machine (root, Linux).")
node_app = verb_app("Change one node as it happens to boards: power, cable, speed.")
app.add_typer(node_app, name="node")

Name = Annotated[str, typer.Option("--name", help="Name of the cluster.")]
NodeName = Annotated[str, typer.Argument(help="Name of the node, such as node02.")]


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _default(name: str) -> str:
    return f"as it is, {getattr(Options(DEFAULT_NAME), name)} for a new one"


@app.command()
def up(
    *,
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes", "-n", metavar="N", min=1, max=MOST_NODES, help="How many nodes.", show_default=_default("nodes")
        ),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            help="Rate of a node's cable, both ways; or wifi, or wifi:30mbit,loss=1%,latency=3ms,jitter=1ms: what all share.",
            show_default=_default("link"),
        ),
    ] = None,
    controller_link: Annotated[
        str | None, typer.Option(help="Rate of the controller's link.", show_default=_default("controller_link"))
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help=f"Speed: {', '.join(PROFILES)}, or a file with a board's measured rate.",
            show_default=_default("profile"),
        ),
    ] = None,
    cpu: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            help="Share of a core that a thread gets, instead of the profile's rule.",
            show_default="by rule",
        ),
    ] = None,
    cpu_model: Annotated[
        str | None,
        typer.Option(
            help=f"How nodes are held to their speed: {' or '.join(MODELS)}.", show_default=_default("cpu_model")
        ),
    ] = None,
    node_profile: Annotated[
        list[str] | None, typer.Option(metavar="NODE=PROFILE", help="Another profile for one node (repeatable).")
    ] = None,
    node_cpu: Annotated[
        list[str] | None, typer.Option(metavar="NODE=CORES", help="Cores that one node may use (repeatable).")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of a node.", show_default=_default("memory"))] = None,
    machines: Annotated[
        Path | None,
        typer.Option(
            metavar="INVENTORY",
            help="Make the same machines as this inventory has: as many, each with its cores, memory and node_profile.",
            show_default="all alike",
        ),
    ] = None,
    subnet: Annotated[
        str | None, typer.Option(help="Addresses in the cluster.", show_default=_default("subnet"))
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help=f"Debian release of the nodes: {' or '.join(SUITES)}.", show_default=_default("suite")),
    ] = None,
    dilation: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            help="Slow down links and processors by this factor; reported times are divided by it.",
            show_default=_default("dilation"),
        ),
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Bring the cluster up, resize it, or repair it; options that are not given keep their values."""
    request = ClusterRequest(
        nodes=nodes,
        link=link,
        controller_link=controller_link,
        profile=profile,
        cpu=cpu,
        cpu_model=cpu_model,
        memory=memory,
        subnet=subnet,
        suite=suite,
        dilation=dilation,
        node_profiles=dict(_of_nodes("--node-profile", node_profile)),
        node_cpus={node: _cores(node, text) for node, text in _of_nodes("--node-cpu", node_cpu)},
    )
    if machines:
        request = imitating(load_cluster(machines), request)
    changes = raise_cluster(name, request, _say)
    for change in changes or ["nothing to change"]:
        typer.echo(change)
    typer.echo(f"inventory: {cluster.inventory(name)}")


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Remove the cluster and everything it made."""
    typer.echo(
        f"virtual cluster {name} removed" if remove_cluster(name, _say) else f"no virtual cluster {name}: nothing to do"
    )


@app.command()
def status(
    name: Name = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Show the nodes; exit 0 when all are up, else 4."""
    nodes = cluster.status(name)
    if as_json:
        typer.echo(json.dumps([asdict(node) | {"up": node.is_up} for node in nodes], indent=2))
    else:
        out.print(_table(nodes))
    if not all(node.is_up for node in nodes):
        raise typer.Exit(EXIT_CLUSTER)


@app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def execute(context: typer.Context, name: Name = DEFAULT_NAME) -> None:
    """Run a command on the controller's port of the switch: harness cluster exec -- COMMAND."""
    cluster.execute(name, context.args)


@app.command()
def inventory(name: Name = DEFAULT_NAME) -> None:
    """Print the path of the cluster's Ansible inventory."""
    typer.echo(cluster.inventory(name))


@node_app.command("off")
def power_off(node: NodeName, name: Name = DEFAULT_NAME) -> None:
    """Pull the plug; the disk stays."""
    cluster.power_off(name, node)


@node_app.command("on")
def power_on(node: NodeName, name: Name = DEFAULT_NAME) -> None:
    """Start a node that is off."""
    cluster.power_on(name, node)


@node_app.command("cut")
def cut_link(node: NodeName, name: Name = DEFAULT_NAME) -> None:
    """Unplug the network cable."""
    cluster.cut_link(name, node)


@node_app.command("restore")
def restore_link(node: NodeName, name: Name = DEFAULT_NAME) -> None:
    """Plug the network cable in again."""
    cluster.restore_link(name, node)


@node_app.command("quota")
def set_quota(
    node: NodeName,
    cores: Annotated[
        float | None, typer.Argument(callback=finite, help="Cores the node may use; no limit without.")
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Change one node's share of CPU until the next `up`."""
    cluster.set_quota(name, node, cores)


def _of_nodes(option: str, items: list[str] | None) -> Iterator[tuple[str, str]]:
    for item in items or ():
        node, equals, value = item.partition("=")
        if not (node and equals and value):
            raise BadInputError(f"{option} {item} is no NODE=VALUE", f"for example {option} node03=...")
        yield node, value


def _cores(node: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInputError(
            f"--node-cpu {node}={text} is no share of CPU", f"give cores: --node-cpu {node}=0.15"
        ) from None


def _cpu(node: cluster.NodeStatus) -> str:
    """The share of a core that a node's threads get, and the limit of all together where there is one."""
    shares = [] if node.cpu_factor is None else [f"{1 / node.cpu_factor:.3f} a thread"]
    shares += [] if node.quota is None else [f"{node.quota:.3f}"]
    return ", ".join(shares) or "no limit"


def _table(nodes: list[cluster.NodeStatus]) -> Table:
    table = Table("node", "address", "state", "ssh", "cpu (cores)", "memory (MiB)", "link")
    for node in nodes:
        table.add_row(
            node.name,
            node.address,
            node.state,
            "yes" if node.ssh else "no",
            _cpu(node),
            "no limit" if node.memory is None else f"{node.memory / 2**20:.0f}",
            node.link,
        )
    return table
