"""The verb `status`."""

from __future__ import annotations

import json
import sys

import typer
from rich.table import Table

from harness.check.answers import read_probe
from harness.cli.group import verb_app
from harness.cli.inputs import find_cluster
from harness.cli.options import AsJson, AskBecomePass, Inventory
from harness.console import out
from harness.contract import wire
from harness.errors import EXIT_CHECK_FAILED, NodeError
from harness.launch.code import packaged_code
from harness.launch.hold import describe_holder
from harness.nodes.agent import ask
from harness.nodes.inventory import Node
from harness.nodes.session import Session, on_all

app = verb_app()


@app.command()
def status(inventory: Inventory = None, ask_become_pass: AskBecomePass = False, as_json: AsJson = False) -> None:
    """Show what runs on every node, who holds it, and what earlier runs left there."""
    cluster = find_cluster(inventory, ask_become_pass)
    code = packaged_code()
    rows = []
    with Session(cluster) as session:

        def look(node: Node) -> dict[str, object]:
            code.send(session.to(node))
            return read_probe(node.name, ask(session.to(node), code.hash, wire.PROBE))

        for node, answer in on_all(cluster.hosts, look):
            unreachable = isinstance(answer, NodeError)
            rows.append(
                {
                    "node": node.name,
                    "error": answer.message if unreachable else None,
                    "held": None if unreachable else answer["held"],
                    "running": [] if unreachable else answer["running"],
                    "left_bytes": None if unreachable else answer["trials_bytes"],
                }
            )
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        out.print(_table(rows))
    if any(row["error"] for row in rows):
        raise typer.Exit(EXIT_CHECK_FAILED)


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "held", "running", "left there"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        held, running, left = row["held"], row["running"], row["left_bytes"]
        table.add_row(
            str(row["node"]),
            str(row["error"] or (describe_holder(held) if isinstance(held, dict) else "free")),
            ", ".join(running) if isinstance(running, list) and running else "nothing",
            f"{left / 1e6:.1f} MB" if isinstance(left, int) else "",
        )
    return table
