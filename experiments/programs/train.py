"""Train a model on one worker of a trial, or be its scheduler or one of its servers. See `train.py --help`."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the package `training` is

from training.program import main

_EXIT_FAULT = 1
_EXIT_INTERRUPTED = 130


def run(arguments: list[str]) -> int:
    """Run the program; an unforeseen fault is a traceback and exit code 1."""
    try:
        return main(arguments)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        return _EXIT_FAULT


if __name__ == "__main__":
    code = run(sys.argv[1:])
    if code:
        # Not by way of the interpreter's exit: MXNet's store would wait there for workers that wait for this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
