"""Train a LeNet on one worker of a trial, or be its scheduler or one of its servers. See `train.py --help`."""

from __future__ import annotations

import sys

from training.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
