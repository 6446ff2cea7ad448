"""The verb `programs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from harness.cli.group import verb_app
from harness.cli.options import AsJson
from harness.console import out
from harness.experiment.catalog import bundled_programs, find_program
from harness.experiment.parameter import Parameter, condition
from harness.experiment.program import Program, Role

app = verb_app()

_PLACES = {"each": "each node", "first": "the first node", "controller": "the controller"}


@app.command()
def programs(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one: roles, parameters, an example experiment.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the programs that come with the harness, or show one of them.

    NAME may also be a program of your own in this directory; NAME.program.yaml beside it describes it in the same way.
    """
    if name is None:
        _print_list(bundled_programs(), as_json)
        return
    program = find_program(name, Path.cwd())
    if as_json:
        sys.stdout.write(program.model_dump_json(indent=2) + "\n")
    else:
        _print_program(program)


def example(program: Program) -> str:
    """A small experiment of a program, as YAML: its parameters with their defaults."""
    parameters = {
        name: parameter.default
        for name, parameter in (program.parameters or {}).items()
        if parameter.default is not None and not parameter.when
    }
    experiment = {
        "name": f"my_{_word(program)}",
        "program": program.command,
        **({"parameters": parameters} if parameters else {}),
        "axes": {"nodes": "1-4"},
    }
    return yaml.safe_dump(experiment, sort_keys=False)


def _print_list(found: Sequence[Program], as_json: bool) -> None:
    if as_json:
        contents = {_word(program): program.model_dump(mode="json") for program in found}
        sys.stdout.write(json.dumps(contents, indent=2) + "\n")
        return
    table = _table("program", "framework", "what it does")
    for program in found:
        table.add_row(program.command, program.framework, program.description)
    out.print(table)


def _print_program(program: Program) -> None:
    what = f": {program.description}" if program.description else ""
    out.print(f"{program.command} ({program.framework}){what}\n")
    roles = _table("role", "ranks", "ends", "when")
    for name, role in program.roles.items():
        roles.add_row(name, _ranks(role), role.ends, condition(role.when))
    out.print(roles)
    out.print("")
    if program.parameters is None:
        out.print("Its parameters are not described: all are passed on.")
    else:
        parameters = _table("parameter", "value (default)", "meaning")
        parameters.columns[0].no_wrap = True
        for name, parameter in program.parameters.items():
            parameters.add_row(name, _allowed(parameter), " ".join([parameter.help, *parameter.conditions]))
        out.print(parameters)
    word = f"my_{_word(program)}"
    out.print(f"\nAn experiment with it, to keep as {word}.yaml and run with `harness sweep {word}`:\n")
    sys.stdout.write(example(program))


def _word(program: Program) -> str:
    return program.command.removesuffix(".py")


def _ranks(role: Role) -> str:
    where = _PLACES.get(role.on, role.on)
    return f"one on {where}" if role.count is None else f"{role.count} on {where}"


def _allowed(parameter: Parameter) -> str:
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return parameter.allowed.removeprefix("one of ") + ("" if default is None else f" ({shown})")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
