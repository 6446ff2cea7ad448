"""The verb `completion`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from harness.cli.group import COMPLETION_VARIABLE, verb_app

app = verb_app()


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")] = Shell.BASH) -> None:
    """Print the shell script that completes harness commands.

    No file is changed. For the running shell: eval "$(harness completion bash)"
    """
    typer.echo(get_completion_script(prog_name="harness", complete_var=COMPLETION_VARIABLE, shell=shell.value))
