"""Faults the program understands."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def spelled_alike(text: str, choices: Iterable[str]) -> str:
    """The end of a message about a word that is none of the choices: those like it; empty where there are none."""
    near = get_close_matches(text, list(choices))
    return f"; perhaps {' or '.join(near)}" if near else ""


class ProgramError(Exception):
    """Input, data or environment is wrong: `message` names the thing, `remedy` says what to do. Ends in exit 2."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
