"""The workers of a trial as torch.distributed's process group, over gloo, and alone where the control is asked for."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import os
import socket
import struct
from datetime import timedelta
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from .errors import ProgramError
from .phases import PULL, PUSH, WAIT, Phases
from .sharding import Shares
from .stores.base import Vector

KVSTORES = ("allreduce", "none")
_LIMIT = timedelta(seconds=300)
_REQUIRED = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "HARNESS_WORKER_RANK", "DMLC_NODE_HOST")
_SIOCGIFADDR = 0x8915


class Group:
    """`workers` processes; `rank` is the launch order. `kvstore` is `allreduce`, or `none` for workers that never meet."""

    def __init__(self, kvstore: str) -> None:
        if kvstore not in KVSTORES:
            raise ProgramError(f"PyTorch has no store {kvstore}", f"use --kvstore with one of: {', '.join(KVSTORES)}")
        self.rank = int(os.environ.get("HARNESS_WORKER_RANK", "0"))
        self.workers = int(os.environ.get("DMLC_NUM_WORKER", "1"))
        self.shared = self._joined = kvstore != "none"
        # DistributedDataParallel exchanges inside backward, and does not say what of that was waiting
        self.phases = Phases(in_turns=True, hidden=(PUSH, WAIT, PULL) if self._joined else ())
        if self._joined:
            self._join()

    def _join(self) -> None:
        missing = [name for name in _REQUIRED if not os.environ.get(name)]
        if missing:
            raise ProgramError(
                f"the workers cannot find each other: {', '.join(missing)} not set",
                "start the program through `harness sweep`, or use --kvstore none",
            )
        os.environ["GLOO_SOCKET_IFNAME"] = interface_of(os.environ["DMLC_NODE_HOST"])
        root, port = os.environ["DMLC_PS_ROOT_URI"], os.environ["DMLC_PS_ROOT_PORT"]
        distributed.init_process_group(
            "gloo", init_method=f"tcp://{root}:{port}", rank=self.rank, world_size=self.workers, timeout=_LIMIT
        )

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose backward averages gradients over the workers: PyTorch's own, as it comes."""
        return DistributedDataParallel(network) if self._joined else network

    def weight(self, shares: Shares) -> float:
        """What a worker's mean loss is multiplied by, so that the workers' average is the mean over the global batch."""
        return shares.own * self.workers / shares.total if self._joined else 1.0

    def reduce(self, values: Vector) -> Vector:
        """Sum a short vector over all workers."""
        total = torch.from_numpy(values.astype(np.float64))
        if self._joined:
            distributed.all_reduce(total)
        return np.asarray(total.numpy())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._joined:
            if kind is None:  # after a fault nobody is to be waited for
                distributed.barrier()
            distributed.destroy_process_group()


def interface_of(address: str) -> str:
    """Name of the network interface that has this IPv4 address; gloo is told names. Raises ProgramError."""
    if ipaddress.ip_address(address).is_loopback:
        return "lo"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = array.array("B", struct.pack("256s", name.encode()))
            try:
                fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(request[20:24].tobytes()) == address:
                return name
    raise ProgramError(f"no network interface has the address {address}", "look at ansible_host in the inventory")
