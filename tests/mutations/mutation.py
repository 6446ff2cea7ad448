"""One mutation, and lists of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """A file of the repository in which `old` becomes `new`, and the tests of which one must fail then."""

    area: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people: the file, and what is there instead."""
        return f"{self.file}: {' '.join(self.old.split())[:60]} -> {' '.join(self.new.split())[:60] or 'nothing'}"

    def applied(self, text: str) -> str | None:
        """The file's text with the mutation, None where its place is not there once."""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None

    def is_stale(self, root: Path) -> bool:
        """Whether the code has changed, so that the mutation has no place in it."""
        path = root / self.file
        return not path.is_file() or self.applied(path.read_text(encoding="utf-8")) is None


def mutations(area: str, file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    """Mutations of one file; `tests` are paths below tests/unit, with or without a test's name, parted by spaces."""
    paths = tuple(f"tests/unit/{each}" for each in tests.split())
    return [Mutation(area, file, old, new, paths) for old, new in changes]
