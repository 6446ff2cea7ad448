"""The group of all verbs, which imports the module of a verb only when the verb is used."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from harness.cli.verbs import SECTIONS, VERBS

COMPLETION_VARIABLE = "_HARNESS_COMPLETE"


class VerbGroup(TyperGroup):
    """Lists the verbs by their section, from the table alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name=name, help=verb.help) for name, verb in VERBS.items()}

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line, or, when a shell asks, print how it goes on."""
        if COMPLETION_VARIABLE in os.environ:
            completion_init()
        return super().main(*arguments, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb that the arguments call, now imported, and the arguments after it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs into the help text, a section each."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, verb.help) for name, verb in verbs.items()])


def load(name: str) -> Any:
    """The command of a verb."""
    app: typer.Typer = import_module(f"harness.cli.{VERBS[name].module}").app
    command = get_command(app)
    command.name = name
    return command


def verb_app(help_text: str | None = None) -> typer.Typer:
    """The application of one verb, or with `help_text` of a verb that has verbs of its own."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=help_text is not None,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
