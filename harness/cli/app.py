"""The `harness` command: its entry point, how it is interrupted, and its exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from harness import __version__
from harness.cli.group import VerbGroup
from harness.errors import EXIT_INTERRUPTED, EXIT_OK, HarnessError
from harness.launch.limits import Limits

app = typer.Typer(
    cls=VerbGroup,
    name="harness",
    help="Run distributed training at every cluster size and collect time and accuracy.",
    epilog="Exit codes: 0 all well, 1 some trials failed, 2 bad arguments or input (nothing was started), 3 a check or "
    "playbook failed, 4 a virtual cluster or a card image could not be made, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: the library for coloured help takes longer to load than everything else that --help needs.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


class _InterruptedError(BaseException):
    """SIGINT, SIGTERM or SIGHUP; the CLI library would turn KeyboardInterrupt into an exit code of its own."""


def _interrupt(*_: object) -> None:
    """The first signal unwinds the stack, which stops whatever runs. The second ends the process at once."""
    for number in _INTERRUPTS:
        signal.signal(number, _end_at_once)
    raise _InterruptedError


def _end_at_once(*_: object) -> NoReturn:
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{show_cursor}\ninterrupted twice: the nodes end what is left within {Limits.lease:.0f} s\n".encode())
    os._exit(EXIT_INTERRUPTED)


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Entry point: every foreseen error ends in two lines on stderr and its exit code."""
    if sys.argv[1:] == ["--version"]:
        # Parsing an option loads a library that takes twice as long as the rest.
        typer.echo(__version__)
        return
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may have bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="harness")
    except HarnessError as error:
        from harness.console import print_error  # noqa: PLC0415 - only errors need it

        print_error(error)
        sys.exit(error.exit_code)
    except _InterruptedError:
        typer.secho("interrupted", fg="yellow", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os._exit(EXIT_OK)


if __name__ == "__main__":
    main()
