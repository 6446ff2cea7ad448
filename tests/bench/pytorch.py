"""PyTorch for the nodes: a CPU wheel the user names, or one that the package index has under its CPU version."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from harness.paths import cache_directory
from tests.bench.stage import Stage

# With its local version: the index's wheel of the plain version is gigabytes of CUDA, and never what a node wants.
REQUIREMENT = "torch==2.13.0+cpu"
_PYTHON = "3.11"  # of Debian 12, which virtual nodes run
_DOWNLOAD_SECONDS = 900
# What DistributedDataParallel imports, besides NumPy.
_COMPANIONS = (
    ("typing_extensions", "4.15.0", "f0fa19c6845758ab08074a0cfa8b7aecb71c999ca73d62883bc25cc018c4e548"),
    ("sympy", "1.14.0", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"),
    ("mpmath", "1.3.0", "a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c"),
)


def find_wheel() -> Path | None:
    """The wheel from the cache, or downloaded to it; None where pip knows no such wheel."""
    directory = cache_directory() / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    cached = sorted(directory.glob("torch-*.whl"))
    if not cached:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             f"--python-version={_PYTHON}", "-d", str(directory), REQUIREMENT],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_DOWNLOAD_SECONDS, check=False,
        )  # fmt: skip
        cached = sorted(directory.glob("torch-*.whl"))
    return cached[-1] if cached else None


def extra_wheels(wheel: Path) -> list[dict[str, str]]:
    """The runtime role's `runtime_extra_wheels` that put PyTorch on the nodes."""
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    torch = {"file": wheel.name, "source": str(wheel.resolve()), "sha256": digest}
    return [torch] + [
        {"file": f"{name}-{version}-py3-none-any.whl", "requirement": f"{name}=={version}", "sha256": sha256}
        for name, version, sha256 in _COMPANIONS
    ]


def provision(stage: Stage) -> None:
    """Provision the cluster's nodes, with PyTorch where there is a wheel."""
    stage.playbook({"runtime_extra_wheels": extra_wheels(stage.torch_wheel)} if stage.torch_wheel else None)
