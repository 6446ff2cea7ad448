"""The ranks of a trial whose work is done by Ray's joblib backend, to compare with: a head, a node for each worker, a driver.

Ray has no certificates by default: its own token authentication keeps strangers out, but encrypts nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from contract import wire
from training import trial
from training.errors import ProgramError
from training.reporting.events import emit

from .reports import alive
from .serving import cores, scheduler_address, workers_wanted

_WAIT_SECONDS = 240.0
"""Slow boards need minutes for a start."""
_LOOK_SECONDS = 1.0
_STARTED = "Ray runtime started."
_STORE_BYTES = 80_000_000
"""Of shared memory on each node; Ray takes little less. Otherwise it is a third of the node's memory."""


class NodeLostError(Exception):
    """This rank's Ray node ended by itself."""


def configure(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Settings that Ray reads when it is imported: who has not the trial's key is kept out, and nobody is told of its use."""
    environment["RAY_AUTH_MODE"] = "token"
    environment["RAY_AUTH_TOKEN"] = token(environment)
    environment["RAY_USAGE_STATS_ENABLED"] = "0"


def token(environment: Mapping[str, str]) -> str:
    """The trial's password for Ray, 64 hexadecimal digits; the key that it is made of cannot be found from it."""
    return hashlib.sha256(environment["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"].encode()).hexdigest()


def head() -> None:
    """Be the head node until stopped; it does no work itself."""
    _serve("--head", f"--port={scheduler_address()[1]}", "--num-cpus=0", "--include-dashboard=false")


def work() -> None:
    """Be a node with all cores that the harness gives it, until stopped. Raises ProgramError where there is no head."""
    address = _head_address()
    with alive("waiting for Ray's head"):
        _wait_for_port(*scheduler_address())
    _serve(f"--address={address}", f"--num-cpus={cores()}")


@contextmanager
def connected() -> Iterator[None]:
    """Ray, with the trial's nodes there. Raises ProgramError where none came."""
    import ray

    wanted = workers_wanted()
    with alive("waiting for Ray's nodes"):
        _wait_for_port(*scheduler_address())
        ray.init(address=_head_address(), log_to_driver=False, logging_level="warning")
        there = _wait_for_nodes(ray, wanted)
    if not there:
        raise ProgramError(f"no node of Ray's came within {_WAIT_SECONDS:.0f} s", "look into the workers' logs")
    if there < wanted:
        print(f"{wanted - there} of {wanted} nodes are not there yet; the others begin", flush=True)
    try:
        yield
    finally:
        ray.shutdown()


def _serve(*arguments: str) -> None:
    """Be a node of Ray's. Raises NodeLostError where it ends by itself."""
    # The names of its sockets may have 107 characters, which a rank's own directory would not leave it. What it makes itself
    # anybody may write to, so it is inside of what nobody else may enter.
    directory = tempfile.mkdtemp(prefix="ray-")
    command = [
        *(sys.executable, "-u", "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *(f"--temp-dir={directory}/r", f"--object-store-memory={_STORE_BYTES}", "--log-style=record"),
        *(f"--node-ip-address={os.environ[wire.NODE_ADDRESS]}", *arguments),
    ]
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    stopped = threading.Event()
    try:
        with subprocess.Popen(command, process_group=0, **piped) as node:

            def stop(*_: object) -> None:
                stopped.set()
                with suppress(ProcessLookupError):
                    os.killpg(node.pid, signal.SIGKILL)  # asked politely, it goes on for up to 30 s

            signal.signal(signal.SIGTERM, stop)
            for line in node.stdout or ():
                print(line, end="", flush=True)
                if _STARTED in line:
                    emit(wire.READY, rank=trial.rank())
        if not stopped.is_set():
            raise NodeLostError(f"Ray's node ended with exit code {node.returncode}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for_nodes(ray: Any, wanted: int) -> int:
    """How many nodes that work are there, so many at most."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        there = sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes())
        if there >= wanted or time.monotonic() > deadline:
            return there
        time.sleep(_LOOK_SECONDS)


def _wait_for_port(host: str, port: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=_LOOK_SECONDS).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise ProgramError(
                    f"nothing listens at {host}:{port}: {error}", "look into the scheduler's log"
                ) from None
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _head_address() -> str:
    host, port = scheduler_address()
    return f"{host}:{port}"
