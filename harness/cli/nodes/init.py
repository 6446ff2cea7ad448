"""The verb `init`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.boards.announced import SUFFIX, announced_boards
from harness.boards.board import Board, addresses_of, names_of, read_boards
from harness.boards.find import Found, find_boards, is_this_machine
from harness.boards.host_keys import HostKey, host_keys
from harness.boards.inventory import inventory_files, refuse_taken, write_inventory
from harness.cli.group import verb_app
from harness.console import err, out, print_error
from harness.errors import EXIT_CHECK_FAILED, BadInputError, NodeError

app = verb_app()

_ASKED = "Boards, as NAME=ADDRESS or ADDRESS with commas between them, or a network to look in, such as 192.168.10.0/24"


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="The new inventory's directory.", metavar="DIR")],
    node: Annotated[
        list[str] | None,
        typer.Option("--node", metavar="[NAME=]HOST[,...]", help="A board, by address or name (repeatable)."),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option("--find", metavar="NETWORK", help="Look for boards in this network; no other one is touched."),
    ] = None,
    mdns: Annotated[
        bool,
        typer.Option(
            "--mdns", help="There, ask by multicast DNS whose the addresses are, instead of trying every one."
        ),
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="NAME", help="Who logs in.", show_default="asks, else pi")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option("--identity", metavar="FILE", help="The private key to log in with.", show_default="ssh's own"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The boards' SSH port.")] = 22,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take what was found, believe the keys that are shown.")
    ] = False,
    no_host_keys: Annotated[
        bool, typer.Option("--no-host-keys", help="Ask no board for its host key; write known_hosts yourself.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files, and write none.")] = False,
) -> None:
    """Write an inventory for boards that run: finds them, shows and pins their host keys, and names the next command.

    Exit codes: 0 written, 2 bad arguments, 3 a board does not answer, 130 interrupted.
    """
    refuse_taken(directory)
    if identity and not Path(identity).expanduser().is_file():
        raise BadInputError(f"{identity} is no file", "name the private key; `ssh-keygen -t ed25519` makes one")
    asks = sys.stdin.isatty() and not yes
    try:
        boards = _boards(node or [], find, port, mdns=mdns, asks=asks)
    except NodeError as error:
        print_error(error)
        raise typer.Exit(EXIT_CHECK_FAILED) from None
    user = user or (typer.prompt("User that logs in on the boards", default="pi", err=True) if asks else "pi")
    try:
        keys = [] if no_host_keys else _believed(host_keys(boards, port), asks=asks, yes=yes or dry_run)
    except NodeError as error:
        print_error(error)
        raise typer.Exit(EXIT_CHECK_FAILED) from None
    own = [board for board in boards if is_this_machine(board.host)]
    files = inventory_files(boards, keys, user=user, identity=identity, port=port, own=own)
    if dry_run:
        for name, text in files.items():
            out.print(f"# {directory / name}\n{text}", soft_wrap=True)
        return
    write_inventory(directory, files)
    for board in own:
        err.print(f"{board.name} is this machine: Ansible reaches it without SSH", soft_wrap=True)
    if no_host_keys:
        err.print(f"no board is believed until its host key is in {directory / 'known_hosts'}", soft_wrap=True)
    count = f"{len(boards)} board{'s' if len(boards) > 1 else ''}"
    out.print(f"{count} in {directory}; next, with -K where sudo asks for a password:", soft_wrap=True)
    out.print(f"  harness provision -i {directory}\n  harness sweep lenet_scaling -i {directory}", soft_wrap=True)


def _boards(said: list[str], network: str | None, port: int, *, mdns: bool, asks: bool) -> list[Board]:
    """What was said, and what was found where it was said to look."""
    if not said and not network and asks:
        answer = typer.prompt(_ASKED, err=True)
        said, network = ([], answer) if "/" in answer else ([answer], None)
    given = read_boards(said)
    if mdns and not network:
        raise BadInputError("--mdns without a network to ask in", "name one with --find 192.168.10.0/24")
    if network:
        given, found = _asked(given, network, port) if mdns else (given, find_boards(addresses_of(network), port))
        taken = {board.host for board in given}
        chosen = _chosen([each for each in found if each.address not in taken], network, asks=asks)
        said = [*(f"{board.name}={board.host}" for board in given), *chosen]
    boards = read_boards(said)
    if not boards:
        raise BadInputError(
            f"no board{' answers to multicast DNS and' if mdns else ''} answers SSH on port {port} in {network}"
            if network
            else "no board was named",
            "name the boards with --node pi01=192.168.10.11,pi02=192.168.10.12, or a network with --find 192.168.10.0/24",
        )
    return boards


def _asked(given: list[Board], network: str, port: int) -> tuple[list[Board], list[Found]]:
    """The boards that were said, those named `.local` with their addresses, and the others that announce themselves.

    Raises NodeError for a name to which nobody answers in the network.
    """
    named = [board for board in given if board.host.lower().endswith(SUFFIX)]
    heard = announced_boards(network, [board.host for board in named])
    by_host = {each.host.lower(): each.address for each in heard}
    for board in named:
        if board.host.lower() not in by_host:
            raise NodeError(
                board.name, f"nobody in {network} answers to {board.host}", "switch it on, or say its address"
            )
    boards = [replace(board, host=by_host.get(board.host.lower(), board.host)) for board in given]
    names = dict(zip([each.address for each in heard], names_of([each.host for each in heard]), strict=True))
    own = {board.name for board in boards}
    found = [
        replace(each, name="" if names[each.address] in own else names[each.address])
        for each in find_boards(list(names), port)
    ]
    return boards, found


def _chosen(found: list[Found], network: str, *, asks: bool) -> list[str]:
    """The addresses to take: all Raspberry Pis, and without any all that have an SSH server; or those that the user says."""
    for each in found:
        kind = "a Raspberry Pi" if each.is_pi else "an SSH server"
        err.print(f"{each.address}: {f'{each.name}, ' if each.name else ''}{kind}")
    chosen = [each for each in found if each.is_pi] or found
    likely = [f"{each.name}={each.address}" if each.name else each.address for each in chosen]
    if not (asks and likely):
        return likely
    return [typer.prompt(f"Which of these in {network}", default=",".join(likely), err=True)]


def _believed(keys: list[HostKey], *, asks: bool, yes: bool) -> list[HostKey]:
    """The keys, once the user has seen their fingerprints and believes them. Raises BadInputError where he does not."""
    for key in keys:
        err.print(f"{key.board.name} ({key.board.host}): {key.kind} {key.fingerprint}", soft_wrap=True)
    if not yes:
        err.print(
            "compare with what each board prints: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", soft_wrap=True
        )
        if not asks:
            raise BadInputError(
                "nobody has said whether these host keys are the boards'", "compare them, and add --yes"
            )
        if not typer.confirm("Are these the boards' keys?", err=True):
            raise BadInputError("the host keys were not believed, and nothing was written", "see who answers there")
    return keys
