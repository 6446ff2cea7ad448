"""Enter a network namespace."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from harness.errors import ClusterError

NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def exists(name: str) -> bool:
    """Whether network namespace `name` is there."""
    return (NAMESPACES / name).exists()


def is_current(name: str) -> bool:
    """Whether the calling thread is in network namespace `name` already."""
    try:
        # /proc/thread-self, not /proc/self: namespaces are a thread's
        return (NAMESPACES / name).samefile("/proc/thread-self/ns/net")
    except FileNotFoundError:
        return False


def enter_network_namespace(name: str) -> None:
    """Move the calling thread, and what it starts from now on, into network namespace `name`.

    Call it before any other thread starts: threads that are there already stay where they are. Raises ClusterError when
    there is no such namespace or the kernel refuses (not root).
    """
    if is_current(name):
        return
    try:
        descriptor = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ClusterError(
            f"network namespace {name} does not exist: the virtual cluster is not up", "run `harness cluster up`"
        ) from error
    except PermissionError as error:
        raise ClusterError(f"network namespace {name} cannot be opened", "run it as root") from error
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise ClusterError(f"network namespace {name} cannot be entered: {reason}", "run it as root")
    finally:
        os.close(descriptor)
