"""Micro-batches by PyTorch's own torch.distributed.pipelining, over gloo: what `StagePasses` is to be compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, cast

import numpy as np
import torch
from torch import distributed
from torch.distributed import pipelining

from ..engines.base import Batch, Model
from ..engines.torch.model import TorchModel
from ..engines.torch.piece import clear, judged
from ..errors import ProgramError
from ..kvstores.base import STALL_SECONDS, KVStore
from ..kvstores.ddp.interface import interface_of
from ..reporting.meters import Vector
from ..reporting.phases import BACKWARD, FORWARD, WAIT, Phases
from ..sharding import Shares
from ..trial import Seat
from .passes import Passes
from .plan import Plan
from .schedule import GPIPE, ONE_FORWARD_ONE_BACKWARD
from .store import PipelineKVStore

_SCHEDULES = {GPIPE: pipelining.ScheduleGPipe, ONE_FORWARD_ONE_BACKWARD: pipelining.Schedule1F1B}
_OLDEST = (2, 13)
"""What was tried: PyTorch calls the interface alpha, and older ones waited for each other over gloo (pytorch #132644)."""


class PyTorchPipelineKVStore(PipelineKVStore):
    """A replica's workers are a process group; sums over replicas and an epoch's end are as without it."""

    def __init__(self, plan: Plan, own: Mapping[str, Any]) -> None:
        """As without it."""
        oldest = ".".join(map(str, _OLDEST))
        if tuple(map(int, torch.__version__.split(".")[:2])) < _OLDEST:
            raise ProgramError(
                f"PyTorch {torch.__version__} has pipelines of another kind than {oldest}",
                f"install PyTorch {oldest} on the nodes, or leave --pipeline-implementation out",
            )
        super().__init__(plan, own)
        seat = Seat.from_environment()
        first = distributed.TCPStore(seat.host, 0, is_master=True, wait_for_workers=False) if self.rank == 0 else None
        (port,) = self.reduce(np.array([float(first.port if first else 0)]))
        self._store = first or distributed.TCPStore(seat.root[0], int(port), is_master=False)
        os.environ["GLOO_SOCKET_IFNAME"] = interface_of(seat.host)
        distributed.init_process_group(
            "gloo",
            store=distributed.PrefixStore(str(plan.groups.number(self.rank)), self._store),
            rank=plan.stage(self.rank),
            world_size=plan.stages,
            timeout=timedelta(seconds=STALL_SECONDS),
        )

    def passes(self, model: Model, shares: Shares) -> Passes:
        """PyTorch's."""
        return PyTorchPasses(self._plan, self.rank, self.phases, cast(TorchModel, model), shares)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        distributed.destroy_process_group()


class PyTorchPasses(Passes):
    """PyTorch's schedule of the same name, with gradients summed over micro-batches."""

    def __init__(self, plan: Plan, rank: int, phases: Phases, model: TorchModel, shares: Shares) -> None:
        """`shares` is how single workers would share a batch."""
        stage, images = plan.stage(rank), plan.shares(shares).own // plan.micro_batches
        layers = plan.layers[stage]
        self._first, self._last = stage == 0, stage == plan.stages - 1
        self._parameters = model.parameters[stage : stage + 1]
        self._phases = phases
        part = model.network.part(layers, first=self._first)
        own = _Stage(
            part,
            stage,
            plan.stages,
            torch.device("cpu"),
            # The forms are told: to find them out, PyTorch would run the layers, and move their statistics.
            input_args=_form(0) if self._first else _form(images, *layers[0].before),
            output_args=_form(images, *layers[-1].after),
        )
        own.phases = phases
        self._schedule = _SCHEDULES[plan.schedule](own, plan.micro_batches, self._judge, scale_grads=False)

    def train(self, batch: Batch, store: KVStore) -> Vector:
        """One step of PyTorch's schedule."""
        images, labels = batch
        clear(self._parameters)
        self._outcome = torch.zeros(2)
        taken = (images,) if self._first else ()
        self._schedule.step(*taken, target=labels if self._last else None, return_outputs=False)
        self._phases.lap(WAIT)
        return np.asarray(self._outcome.numpy(), np.float64)

    def _judge(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss, outcome = judged(logits, labels)
        self._outcome += outcome
        self._phases.compute(FORWARD)
        return loss


class _Stage(pipelining.PipelineStage):  # type: ignore[misc]  # torch has types only where it is installed
    """Tells computing from what is between, which is waiting for messages and handing them to gloo's threads."""

    phases: Phases

    def forward_one_chunk(self, *given: Any, **named: Any) -> Any:
        self.phases.lap(WAIT)
        made = super().forward_one_chunk(*given, **named)
        self.phases.compute(FORWARD)
        return made

    def backward_one_chunk(self, *given: Any, **named: Any) -> None:
        self.phases.lap(WAIT)
        super().backward_one_chunk(*given, **named)
        self.phases.compute(BACKWARD)


def _form(*shape: int) -> torch.Tensor:
    """A tensor of this form without memory."""
    return torch.empty(shape, device="meta", requires_grad=True)
