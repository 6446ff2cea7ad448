"""The workers of a trial as torch.distributed's process group, over gloo."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from ...engines.base import Model
from ...engines.torch.model import TorchModel
from ...reporting.meters import Vector
from ...reporting.phases import PULL, PUSH, UPDATE, WAIT, Phases
from ...rules.common import Method
from ...sharding import Shares
from ...stepping import Stepper
from ...trial import Seat
from ..base import STALL_SECONDS, KVStore
from ..registration import Opening
from .interface import interface_of


class DdpKVStore(KVStore):
    """`workers` processes; `rank` is the launch order. PyTorch's backward averages gradients over the workers, as it comes."""

    name = "allreduce"

    def __init__(self, opening: Opening) -> None:
        self._method = Method.of(opening.options.own)
        seat = Seat.from_environment()
        self.rank, self.workers = seat.rank, seat.workers
        # DistributedDataParallel exchanges inside backward, and does not say what of that was waiting
        self.phases = Phases(in_turns=True, hidden=(PUSH, WAIT, PULL))
        if self.workers > 1:
            os.environ["GLOO_SOCKET_IFNAME"] = interface_of(seat.host)
            meeting = {"init_method": f"tcp://{seat.root[0]}:{seat.root[1]}"}
        else:  # one worker has nobody to meet: a port of its own will do
            meeting = {"store": distributed.HashStore()}
        distributed.init_process_group(
            "gloo", rank=self.rank, world_size=self.workers, timeout=timedelta(seconds=STALL_SECONDS), **meeting
        )

    def attach(self, model: Model, shares: Shares) -> None:
        """Wrap the network; DistributedDataParallel gives everybody worker 0's values."""
        self._model = cast(TorchModel, model)
        self._images = shares.total
        # batch statistics are local
        buffers = {"broadcast_buffers": False} if self._model.network.statistics else {}
        self._model.call = DistributedDataParallel(self._model.network, **buffers)
        self._stepper = Stepper(model, self._method)

    def step(self, learning_rate: float) -> None:
        """Gradients are means over the workers of sums over images."""
        self._stepper.step(learning_rate * self.workers, self._images)
        self.phases.lap(UPDATE)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The steps' velocity: every worker makes the same steps."""
        return {**self._stepper.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """The steps' velocity."""
        self._stepper.restore(state)

    def reduce(self, values: Vector) -> Vector:
        """Sum a short vector over all workers."""
        total = torch.from_numpy(values.astype(np.float64))
        distributed.all_reduce(total)
        return np.asarray(total.numpy())

    def close(self) -> None:
        """Wait for all workers."""
        distributed.barrier()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        distributed.destroy_process_group()
