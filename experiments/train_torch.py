"""The baseline: train a LeNet with PyTorch's DistributedDataParallel over gloo. Takes `train.py`'s options."""

from __future__ import annotations

import sys
import traceback

from training.torch_program import main

_EXIT_FAULT = 1


def run(arguments: list[str]) -> int:
    """Run the program; an unforeseen fault is a traceback and exit code 1."""
    try:
        return main(arguments)
    except Exception:
        traceback.print_exc()
        return _EXIT_FAULT


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
