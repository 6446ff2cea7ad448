"""The verb `clean`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.cli.group import verb_app
from harness.cli.inputs import find_cluster
from harness.cli.options import AskBecomePass, Inventory
from harness.console import out, print_error
from harness.contract import wire
from harness.errors import EXIT_CHECK_FAILED, NodeError
from harness.launch.code import packaged_code
from harness.nodes.agent import ask
from harness.nodes.inventory import Node
from harness.nodes.session import Session, on_all

app = verb_app()


@app.command()
def clean(
    inventory: Inventory = None,
    ask_become_pass: AskBecomePass = False,
    force: Annotated[bool, typer.Option("--force", help="Also where a running harness holds a node.")] = False,
) -> None:
    """Stop and remove what earlier runs left on the nodes; nothing else is touched."""
    cluster = find_cluster(inventory, ask_become_pass)
    code = packaged_code()
    failed = False
    with Session(cluster) as session:

        def clean_node(node: Node) -> dict[str, Any]:
            transport = session.to(node)
            code.send(transport)
            return ask(transport, code.hash, wire.CLEAN, keep_code=code.hash, force=force)

        for node, answer in on_all(cluster.hosts, clean_node):
            if isinstance(answer, NodeError):
                print_error(answer)
                failed = True
                continue
            stopped = ", ".join(answer["stopped"]) or "nothing was running"
            out.print(f"{node.name}: {stopped}; {answer['freed_bytes'] / 1e6:.1f} MB freed")
            failed = failed or bool(answer["left"])
    if failed:
        raise typer.Exit(EXIT_CHECK_FAILED)
