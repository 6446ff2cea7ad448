"""The mutations made by hand: `python -m tests.mutations [--only WORDS] [--every N] [--list]`.

Each is carried out in a copy of the repository, where the tests that must notice it are run. It prints the score, and what
no test noticed. Exit status 1 where the score is below the bar, or tests fail in the unchanged copy.

All runs are forks of one process that has imported the libraries, which takes longer than most of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutations.copy import REPOSITORY, copy_repository
from tests.mutations.everything import MUTATIONS
from tests.mutations.mutation import Mutation

BAR = 0.95
LIMIT_SECONDS = 600
"""A test that does not end has noticed something, too."""
LIBRARIES = (
    "pytest",
    "hypothesis",
    "numpy",
    "pandas",
    "pydantic",
    "yaml",
    "rich.table",
    "typer",
    "jinja2",
    "typer.testing",
)
# They cut a file or kill a harness hundreds of times, so they are asked last.
LONG = ("every_byte", "any_byte", "between_any_two", "cut_anywhere")
LONG_FOR = ("results/disk.py", "results/run_directory.py", "results/repair.py")
SHORT_ONES = " and ".join(f"not {words}" for words in LONG)
LONG_ONES = " or ".join(LONG)


def main() -> int:
    """Run the mutations and print the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="those with these words in their file or area")
    parser.add_argument("--list", action="store_true", help="print them, and run none")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth, for a quick estimate")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="begin with the Nth")
    parser.add_argument("--unchecked", action="store_true", help="do not look first whether the tests pass unchanged")
    options = parser.parse_args()
    chosen = [
        each for each in MUTATIONS if not options.only or any(w in f"{each.area} {each.name}" for w in options.only)
    ]
    stale = [each for each in chosen if each.is_stale(REPOSITORY)]
    for each in stale:
        print(f"has no place in the code any more: {each.name}")
    chosen = [each for each in chosen if each not in stale][options.first - 1 :: options.every]
    if options.list:
        print(*(f"{each.area}: {each.name}" for each in chosen), sep="\n")
        return 0
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="harness-mutations-") as scratch:
        copy = Copy(Path(scratch) / "repository")
        if not options.unchecked and not copy.is_sound(chosen):
            print("tests fail in the unchanged copy")
            return 1
        lived = [each for each in chosen if not copy.notices(each)]
    return report(chosen, lived)


class Copy:
    """A copy of the repository's files."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changes = 0
        copy_repository(root)

    def is_sound(self, chosen: Sequence[Mutation]) -> bool:
        """Whether the tests of these mutations pass where nothing is changed; what they say is printed where they do not."""
        tests = sorted({test for each in chosen for test in each.tests})
        return not self._fails(tests, quiet=False)

    def notices(self, mutation: Mutation) -> bool:
        """Whether a test fails with the mutation; the copy is as before afterwards."""
        path = self._root / mutation.file
        before = path.read_text(encoding="utf-8")
        began = time.monotonic()
        self._write(path, mutation.applied(before) or before)
        try:
            has_long = mutation.file.endswith(LONG_FOR)
            noticed = self._fails(mutation.tests) or (has_long and self._fails(mutation.tests, LONG_ONES))
        finally:
            self._write(path, before)
        print(f"{'noticed' if noticed else 'LIVED  '} {time.monotonic() - began:5.1f} s  {mutation.name}", flush=True)
        return noticed

    def _write(self, path: Path, text: str) -> None:
        """Write a file, each time with another time of change: Python's bytecode goes by its full seconds."""
        path.write_text(text, encoding="utf-8")
        self._changes += 2
        moment = time.time() - 10_000_000 + self._changes
        os.utime(path, (moment, moment))

    def _fails(self, tests: Sequence[str], which: str = SHORT_ONES, *, quiet: bool = True) -> bool:
        pid = os.fork()
        if pid == 0:
            os._exit(self._run(tests, which, quiet))
        _, status = os.waitpid(pid, 0)
        return status != 0

    def _run(self, tests: Sequence[str], which: str, quiet: bool) -> int:
        """In a child of its own: run tests until one fails; 0 where none does."""
        os.setsid()
        os.chdir(self._root)
        if quiet:
            signal.alarm(LIMIT_SECONDS)
            with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123
                for descriptor in (0, 1, 2):
                    os.dup2(nothing.fileno(), descriptor)
        sys.path[:] = [
            path for path in sys.path if Path(path or ".").resolve() not in (REPOSITORY, REPOSITORY / "tests")
        ]
        for name in [
            name for name in sys.modules if name.split(".")[0] in ("tests", "harness", "training", "agent", "contract")
        ]:
            del sys.modules[name]
        # What tests start imports the copy, too.
        os.environ |= {"HARNESS_PROPERTY_EXAMPLES": "30", "PYTHONHASHSEED": "0", "PYTHONPATH": str(self._root)}
        os.environ.pop("HARNESS_RUNTIME_PYTHON", None)
        import pytest

        code = 70
        with contextlib.suppress(BaseException):
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", which, *tests]))
        return code


def report(chosen: Sequence[Mutation], lived: Sequence[Mutation]) -> int:
    """Print the score, by area too, as Markdown; 1 where it is below the bar."""
    all_of, left = Counter(each.area for each in chosen), Counter(each.area for each in lived)
    print("\n| what | mutations | noticed |\n|---|---|---|")
    for area, count in sorted(all_of.items()):
        print(f"| {area} | {count} | {count - left[area]} |")
    score = 1 - len(lived) / max(len(chosen), 1)
    print(f"| all | {len(chosen)} | {len(chosen) - len(lived)} ({score:.1%}) |")
    for each in lived:
        print(f"lived: {each.name}")
    return 0 if score >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
