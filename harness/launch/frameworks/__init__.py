"""What frameworks want to find in a rank's environment beside the neutral names: a file each, found by name."""

from __future__ import annotations

from harness.launch.frameworks.base import Framework
from harness.launch.frameworks.dask import Dask
from harness.launch.frameworks.mpi import Mpi
from harness.launch.frameworks.mxnet import Mxnet
from harness.launch.frameworks.torch import Torch

FRAMEWORKS: dict[str, Framework] = {
    "plain": Framework(),
    "mxnet": Mxnet(),
    "torch": Torch(),
    "mpi": Mpi(),
    "dask": Dask(),
}
