"""`harness` as a process of its own: a fork of the tests', which has imported what a new one would spend a second on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from harness import console
from harness.cli.app import main

COLUMNS = 200
LIMIT_SECONDS = 120


def harness(
    *words: str | Path, cwd: Path | None = None, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `harness WORDS` without a terminal and with nothing of the harness's or Ansible's in its environment but these.

    It has its own working directory, session, environment and files; `typed` is its standard input. Returns its exit code,
    negative for the signal that ended it, and all that it and what it started printed.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HARNESS_", "ANSIBLE_"))}
    arguments = ["harness", *map(str, words)]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(typed.encode())
        given.seek(0)
        pid = os.fork()
        if pid == 0:
            _run(arguments, (given, out, err), cwd or Path.cwd(), {**kept, **environment})
        _, status = os.waitpid(pid, 0)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, os.waitstatus_to_exitcode(status), *said)


def _run(arguments: Sequence[str], files: Sequence[IO[bytes]], cwd: Path, environment: Mapping[str, str]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_SECONDS)
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        console.out.width = console.err.width = COLUMNS
        sys.argv[:] = arguments
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
