"""The engine on MXNet 1.9.1."""

from __future__ import annotations

import os

from ..base import Engine
from ..registration import Registration

_THREADS, _SCRATCH = "MXNET_CPU_WORKER_NTHREADS", "MXNET_CPU_TEMP_COPY"


def _create() -> Engine:
    # Operations take turns at four scratch spaces, each of which grows to the most that any of its own asks for. One computing
    # thread uses one at a time.
    if os.environ.get(_THREADS, "1") == "1":
        os.environ.setdefault(_SCRATCH, "1")
    from .engine import create

    return create()


ENGINE = Registration("MXNet", "mxnet", "provision the node (site.yml), or use --engine torch", _create)
