"""The verb `provision`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.inputs import find_inventory
from harness.cli.options import AskBecomePass, Inventory
from harness.errors import EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_INTERRUPTED, EXIT_OK
from harness.nodes.ansible import run_playbook
from harness.virtual.state import cluster_of

app = verb_app()

# Of ansible-playbook; every other one but 0 says that a host failed or was not reached.
_ANSIBLE_BAD_OPTIONS = 5
_ANSIBLE_INTERRUPTED = 99


@app.command()
def provision(
    playbook: Annotated[
        str,
        typer.Argument(
            help="site installs what a node needs; check only reads; reset removes it; image makes SD cards; reboot, poweroff, "
            "upgrade and backup take one node after the other; time_server makes the controller one."
        ),
    ] = "site",
    inventory: Inventory = None,
    check: Annotated[bool, typer.Option("--check", help="Say what would change, and change nothing.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show how files change.")] = False,
    tags: Annotated[str | None, typer.Option(metavar="TAG[,TAG...]", help="Only these roles or tasks.")] = None,
    skip_tags: Annotated[str | None, typer.Option(metavar="TAG[,TAG...]", help="Not these roles or tasks.")] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", "-l", metavar="HOST[,HOST...]", help="Only these hosts.")
    ] = None,
    extra_vars: Annotated[
        list[str] | None,
        typer.Option("--extra-vars", "-e", metavar="NAME=VALUE", help="Set a variable, or @FILE (repeatable)."),
    ] = None,
    ask_become_pass: AskBecomePass = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, max=4, help="Say more (-vvv: most).")] = 0,
) -> None:
    """Run a playbook on the nodes: site (installs everything), check, reset, image, or one that takes care of them.

    Exit codes: 0 all well, 2 bad arguments, 3 a host failed or was not reached, 130 interrupted.
    """
    arguments = [
        *(["--check"] if check else []),
        *(["--diff"] if diff else []),
        *(["--tags", tags] if tags else []),
        *(["--skip-tags", skip_tags] if skip_tags else []),
        *(["--limit", limit] if limit else []),
        *(word for setting in extra_vars or () for word in ("--extra-vars", setting)),
        *(["--ask-become-pass"] if ask_become_pass else []),  # Ansible asks, on this terminal
        *([f"-{'v' * verbose}"] if verbose else []),
    ]
    code = play(playbook, find_inventory(inventory), arguments)
    if code != EXIT_OK:
        raise typer.Exit(code)


def play(playbook: str, inventory: Path, arguments: list[str]) -> int:
    """Run a playbook, `site` or `site.yml`, on an inventory; inside the network of a virtual cluster where it is one's.

    Returns the harness's exit code. Raises BadInputError and ClusterError where it cannot be run.
    """
    prefix, environment = list[str](), dict[str, str]()
    if cluster := cluster_of(inventory):
        # Only clusters need what runs them.
        from harness.virtual.cluster import command_inside  # noqa: PLC0415

        prefix, environment = command_inside(cluster)
    arguments = ["-i", str(inventory.absolute()), *arguments]
    code = run_playbook(playbook.removesuffix(".yml"), arguments, environment, prefix)
    return {EXIT_OK: EXIT_OK, _ANSIBLE_BAD_OPTIONS: EXIT_BAD_INPUT, _ANSIBLE_INTERRUPTED: EXIT_INTERRUPTED}.get(
        code, EXIT_CHECK_FAILED
    )
