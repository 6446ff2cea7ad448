"""`train.py`, but every checkpoint goes into a file of its own, `RANK-EPOCH.npz` in the working directory. Run by a test."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

from training.checkpoint import Keeper
from training.program import main

keep = Keeper.keep


def keep_numbered(keeper: Keeper, epoch: int, *arrays: object) -> None:
    keeper._path = Path(f"{os.environ['HARNESS_RANK']}-{epoch}.npz")
    keep(keeper, epoch, *arrays)  # type: ignore[arg-type]


Keeper.keep = keep_numbered  # type: ignore[assignment,method-assign]
sys.exit(main(sys.argv[1:]))
