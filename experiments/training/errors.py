"""Faults the program understands."""

from __future__ import annotations


class ProgramError(Exception):
    """Input, data or environment is wrong: `message` names the thing, `remedy` says what to do. Ends in exit 2."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
