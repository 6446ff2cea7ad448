"""How much CPU a virtual node gets, by a stated rule. Pure, apart from `measure_machine`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.errors import BadInputError
from harness.virtual import cgroup
from harness.virtual.command import run

RULE = (
    "quota (cores) = the board's SGEMM rate over all its cores / this machine's SGEMM rate on one core, "
    "both for 512x512 matrices"
)
MATRIX_SIZE = 512
LEAST_FRACTION = 0.01
MOST_FRACTION = 256
# What nodes may use together; the rest is for the switch, the controller and this machine itself.
USABLE_SHARE = 0.9


@dataclass(frozen=True)
class Board:
    """A board whose speed a profile imitates; `sgemm_gflops` is over all its cores."""

    description: str
    sgemm_gflops: float
    source: str


BOARDS = {
    "pi3": Board(
        description="Raspberry Pi 3 Model B: 4 Cortex-A53 at 1.2 GHz",
        sgemm_gflops=21.0,
        source=(
            "estimate: OpenBLAS pull request 2643 measured 6.20 GFLOP/s (SGEMM, 512x512, one thread) on a Cortex-A53 of "
            "an RK3399, nominally 1.416 GHz; times 1.2/1.416 for the clock, times 4 cores"
        ),
    ),
    "pi4": Board(
        description="Raspberry Pi 4 Model B: 4 Cortex-A72 at 1.5 GHz",
        sgemm_gflops=29.9,
        source=(
            "estimate: BLIS issue 754 reports 17.93 GFLOP/s (HPL, double precision, 4 cores) at 1.8 GHz; times 1.5/1.8 "
            "for the clock, times 2 for single precision"
        ),
    ),
}
PROFILES = (*BOARDS, "none")


@dataclass(frozen=True)
class Quota:
    """A node's share of CPU and where it comes from; `fraction` in cores, None for no limit."""

    profile: str
    fraction: float | None
    rule: str
    board: Board | None = None
    machine_sgemm_gflops: float | None = None

    def as_json(self) -> dict[str, object]:
        """The manifest's form."""
        return asdict(self)


def check(profile: str, override: float | None, dilation: float = 1.0) -> None:
    """Raise BadInputError when there is no such profile, or `override` (cores) is no share of CPU that can be kept."""
    if profile not in PROFILES:
        raise BadInputError(f"unknown profile {profile!r}", f"use one of: {', '.join(PROFILES)}")
    least = max(LEAST_FRACTION, cgroup.least_fraction(dilation))
    if override is not None and not least <= override <= MOST_FRACTION:
        where = f" at a dilation of {dilation:g}" if dilation != 1 else ""
        raise BadInputError(
            f"--cpu {override:g} is no share of CPU{where}", f"give cores, {least:g} to {MOST_FRACTION}: --cpu 0.15"
        )


def needs_measurement(profile: str, override: float | None) -> bool:
    """Whether the quota follows from this machine's rate."""
    return override is None and profile in BOARDS


def quota_of(profile: str, machine_gflops: float | None, override: float | None) -> Quota:
    """The quota of `profile` on a machine whose core does `machine_gflops`; `override` (cores) wins over the rule.

    Raises ValueError when the rule needs the machine's rate and there is none.
    """
    board = BOARDS.get(profile)
    if override is not None:
        return Quota(profile, override, "given by the user", board, machine_gflops)
    if board is None:
        return Quota(profile, None, "no limit", None, machine_gflops)
    if machine_gflops is None:
        raise ValueError(f"profile {profile} needs this machine's rate")
    fraction = round(max(LEAST_FRACTION, board.sgemm_gflops / machine_gflops), 3)
    return Quota(profile, fraction, RULE, board, machine_gflops)


def measure_machine() -> float:
    """SGEMM rate of one core of this machine in GFLOP/s, best of several (about two seconds).

    In a process of its own: the number of BLAS threads can only be set before numpy is imported.
    """
    variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    settings = [f"{variable}=1" for variable in variables]
    output = run(["env", *settings, sys.executable, "-m", "harness.virtual.sgemm"], limit=60)
    return float(json.loads(output)["gflops"])


def shortage(fractions: Sequence[float | None], dilation: float = 1.0, cpus: int | None = None) -> str | None:
    """What to tell the user when nodes of so many cores each are together more than this machine has, else None.

    `dilation` is what time is slowed down by: so many times as much may be asked of the machine.
    """
    available = cpus or len(os.sched_getaffinity(0))
    limits = [fraction for fraction in fractions if fraction is not None]
    if unlimited := len(fractions) - len(limits):
        return (
            f"{unlimited} of {len(fractions)} nodes have no CPU limit and share {available} cores: they compete, and their "
            "times are no board's"
            if len(fractions) > 1
            else None
        )
    wanted = sum(limits) / dilation
    if wanted <= USABLE_SHARE * available:
        return None
    most = int(USABLE_SHARE * available * dilation / max(limits))
    each = " or ".join(f"{fraction:g}" for fraction in sorted(set(limits)))
    return (
        f"{len(limits)} nodes of {each} cores want {wanted:.2f} of {available} cores: nodes will compete and times "
        f"will be longer than the profile means (up to {most} nodes fit; --dilation slows all down alike and makes room)"
    )
