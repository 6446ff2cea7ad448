"""The command line of a program: made of its description and of nothing else."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ..errors import ProgramError, spelled_alike
from .description import Description, Parameter, Value, When


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ProgramError(message, f"see {self.prog} --help")


def parse(description: Description, arguments: Sequence[str]) -> dict[str, Value]:
    """Every parameter's value, by name. Raises ProgramError for what is wrong with the arguments."""
    parser = _Parser(prog=description.command, description=description.text, allow_abbrev=False)
    for parameter in description.parameters:
        _add(parser, parameter)
    values: dict[str, Value] = vars(parser.parse_args(arguments))
    for parameter in description.parameters:
        _refuse_without_meaning(parameter, values)
    return values


def _add(parser: argparse.ArgumentParser, parameter: Parameter) -> None:
    text = parameter.help.replace("%", "%%")
    if parameter.when:
        text = f"{text} Only with {_text(parameter.when)}."
    for choice, when in parameter.choices_when.items():
        text = f"{text} {choice}: only with {_text(when)}."
    if parameter.type == "bool":
        parser.add_argument(
            parameter.option, action=argparse.BooleanOptionalAction, default=parameter.default, help=text
        )
        return
    if parameter.default is not None:
        text = f"{text} Default: {parameter.default}."
    parser.add_argument(
        parameter.option,
        type=_converter(parameter),
        choices=parameter.choices or None,
        default=parameter.default,
        help=text,
    )


def _converter(parameter: Parameter) -> Callable[[str], Value]:
    if parameter.type == "choice":
        return _choice(parameter)
    if parameter.type not in {"int", "float"}:
        return str
    kind = int if parameter.type == "int" else float

    def number(text: str) -> int | float:
        value: int | float = kind(text)
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text} is no number")
        if parameter.minimum is not None and value < parameter.minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than {parameter.minimum}")
        if parameter.maximum is not None and value > parameter.maximum:
            raise argparse.ArgumentTypeError(f"{text} is more than {parameter.maximum}")
        if parameter.above is not None and value <= parameter.above:
            raise argparse.ArgumentTypeError(f"{text} is not above {parameter.above}")
        return value

    number.__name__ = parameter.type  # argparse says "invalid int value"
    return number


def _choice(parameter: Parameter) -> Callable[[str], Value]:
    """Refuses what is no choice, as argparse would, and names what is spelled alike."""

    def choice(text: str) -> str:
        if text in parameter.choices:
            return text
        hint = spelled_alike(text, parameter.choices)
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(parameter.choices)}{hint})")

    return choice


def _refuse_without_meaning(parameter: Parameter, values: Mapping[str, Value]) -> None:
    """Raise ProgramError where it was set and another parameter's value leaves it no meaning."""
    value = values[parameter.name]
    if value in (parameter.default, None):
        return
    of_choice = parameter.choices_when.get(str(value), {})
    for what, when in ((parameter.option, parameter.when), (f"{parameter.option} {value}", of_choice)):
        for other, allowed in when.items():
            if str(values.get(other)) not in map(str, allowed):
                spelled = f"--{other.replace('_', '-')}"
                raise ProgramError(
                    f"{what} means nothing with {spelled} {values.get(other)}",
                    f"use {spelled} {' or '.join(map(str, allowed))}, or leave {parameter.option} out",
                )


def _text(when: When) -> str:
    """A condition in words: `kvstore dist_sync or dist_async`."""
    return " and ".join(f"{name} {' or '.join(map(str, allowed))}" for name, allowed in when.items())
