"""What is wrong with the values of an inventory's variables, before any role takes them for something else.

Ansible's own check of a role's arguments turns a value into its type and then lets the role have the value as it was: a text
passes for a list, and the role goes through its letters.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

# The words that Ansible's filter `bool` knows.
TRUTHS = ("true", "false", "yes", "no", "on", "off", "1", "0")
NAMED_HOSTS = 3


def role_options(roles: str) -> dict[str, Any]:
    """The options that the argument specifications under a directory of roles declare, by variable.

    Of a role with several entry points, those of all.
    """
    options: dict[str, Any] = {}
    for path in sorted(Path(roles).glob("*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry in entries.values():
            options.update(entry.get("options", {}))
    return options


def variable_faults(
    hosts: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
    bounds: Mapping[str, Any],
    networks: Iterable[str],
) -> list[str]:
    """Look at the values that hosts have for declared variables.

    hosts: by host, its variables; those that are not declared are not looked at.
    options: what is declared of each, as in an argument specification: `type`, `elements`, `choices`.
    bounds: by variable of type int, `minimum` and `maximum`.
    networks: variables whose elements are IP networks.
    Returns one sentence a fault, with the hosts and the remedy.
    """
    found: dict[str, list[str]] = {}
    for host, values in hosts.items():
        for name, value in values.items():
            fault = _fault(name, value, options.get(name, {}), bounds.get(name, {}))
            if not fault and name in networks:
                fault = _network_fault(name, value)
            if fault:
                found.setdefault(fault, []).append(host)
    return [f"{_listed(names)}: {fault}" for fault, names in found.items()]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED_HOSTS
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:NAMED_HOSTS])} and {more} more"


def _fault(name: str, value: Any, option: Mapping[str, Any], bounds: Mapping[str, Any]) -> str:
    if not option:
        return ""
    if value is None:
        return f"{name} is empty. Try: a value, or no line for it"
    kind = option.get("type", "str")
    if fault := _CHECKS.get(kind, _text_fault)(name, value):
        return fault
    if kind == "list":
        elements = option.get("elements", "str")
        return next((fault for item in value if (fault := _CHECKS.get(elements, _text_fault)(f"{name}: ", item))), "")
    choices = [str(choice) for choice in option.get("choices", [])]
    if choices and str(value) not in choices:
        return f"{name} '{value}' is unknown. Try: {', '.join(choices)}"
    return _bound_fault(name, int(value), bounds) if kind == "int" else ""


def _list_fault(name: str, value: Any) -> str:
    known = isinstance(value, list)
    return (
        ""
        if known
        else f"{name} '{value}' is not a list. Try: {name}: [{value}], in the inventory or in FILE with -e @FILE"
    )


def _dict_fault(name: str, value: Any) -> str:
    known = isinstance(value, Mapping)
    return (
        ""
        if known
        else f"{name} '{value}' is not a mapping. Try: {name}: {{key: value}}, in the inventory or in FILE with -e @FILE"
    )


def _int_fault(name: str, value: Any) -> str:
    # Values of a command line are text.
    text = str(value).removeprefix("-")
    whole = not isinstance(value, bool) and isinstance(value, int | str) and text.isascii() and text.isdecimal()
    return "" if whole else f"{name} '{value}' is not a whole number. Try: one, without quotes and unit"


def _float_fault(name: str, value: Any) -> str:
    try:
        number = not isinstance(value, bool) and float(value) - float(value) == 0
    except (TypeError, ValueError):
        number = False
    return "" if number else f"{name} '{value}' is not a number. Try: one with a point, without unit"


def _bool_fault(name: str, value: Any) -> str:
    known = isinstance(value, bool) or str(value).lower() in TRUTHS
    return "" if known else f"{name} '{value}' is neither true nor false. Try: true or false"


def _text_fault(name: str, value: Any) -> str:
    return (
        f"{name} '{value}' is not text. Try: one word or line, in quotes" if isinstance(value, list | Mapping) else ""
    )


def _no_fault(_name: str, _value: Any) -> str:
    return ""


_CHECKS: dict[str, Callable[[str, Any], str]] = {
    "list": _list_fault, "dict": _dict_fault, "int": _int_fault, "float": _float_fault, "bool": _bool_fault, "raw": _no_fault,
}  # fmt: skip


def _bound_fault(name: str, value: int, bounds: Mapping[str, Any]) -> str:
    minimum, maximum = bounds.get("minimum", 0), bounds.get("maximum")
    if value >= minimum and (maximum is None or value <= maximum):
        return ""
    return f"{name} {value} is out of range. Try: {f'{minimum} to {maximum}' if maximum is not None else f'{minimum} or more'}"


def _network_fault(name: str, value: Iterable[Any]) -> str:
    for item in value:
        try:
            ipaddress.ip_network(str(item), strict=False)
        except ValueError:
            return f"{name}: '{item}' is not an IP network. Try: one such as 192.168.10.0/24, or an address"
    return ""


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"role_options": role_options, "variable_faults": variable_faults}
