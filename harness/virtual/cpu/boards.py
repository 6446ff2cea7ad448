"""Boards whose speed a profile imitates, and where their figures come from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# One core of an AMD EPYC did the small convolutions of `convolution.py` at 15.0 GFLOP/s; ncnn 1.0.20250916 took 7.65 ms
# there for SqueezeNet 1.1 (227x227) and 25.0 ms for ResNet-18 (224x224), one thread, float32, best of 40. The tables of
# ncnn's benchmark/README.md give the boards' milliseconds for the same two networks.
_METHOD = (
    "ncnn, benchmark/README.md: SqueezeNet and ResNet-18 {table}; on one core of an AMD EPYC 7.65 and 25.0 ms, so the board is "
    "{ratio} times slower (geometric mean), and that core does these small convolutions at 15.0 GFLOP/s"
)
_PI3_CLOCK = "on a Pi 3 Model B+ at 1.4 GHz, times 1.4/1.2 for the clock"
_PI4_CLOCK = "on a Pi 4 Model B at 1.8 GHz, times 1.8/1.5 for the clock"


@dataclass(frozen=True)
class Board:
    """A board whose speed a profile imitates; `conv_gflops` is its rate for the convolutions of `convolution.py`."""

    description: str
    conv_gflops: float
    source: str


BOARDS = {
    "pi3": Board(
        description="Raspberry Pi 3 Model B (4 Cortex-A53, 1.2 GHz), all its cores used: the fast end of the estimates",
        conv_gflops=1.18,
        source=_METHOD.format(table=f"in 84.7 and 271 ms with four threads {_PI3_CLOCK}", ratio=12.8),
    ),
    "pi3-slow": Board(
        description="Raspberry Pi 3 Model B, one of its cores used: the slow end of the estimates",
        conv_gflops=0.81,
        source=_METHOD.format(table=f"in 125 and 379 ms with one thread {_PI3_CLOCK}", ratio=18.4),
    ),
    "pi4": Board(
        description="Raspberry Pi 4 Model B (4 Cortex-A72, 1.5 GHz), all its cores used",
        conv_gflops=2.3,
        source=_METHOD.format(table=f"in 46.3 and 122 ms with four threads {_PI4_CLOCK}", ratio=6.5),
    ),
    "pi4-slow": Board(
        description="Raspberry Pi 4 Model B, one of its cores used",
        conv_gflops=1.46,
        source=_METHOD.format(table=f"in 73.4 and 191 ms with one thread {_PI4_CLOCK}", ratio=10.3),
    ),
    "desktop": Board(
        description="one core of an AMD Ryzen Threadripper 3970X (Zen 2, 3.7 to 4.5 GHz), as a desktop computer's",
        conv_gflops=7.75,
        source=_METHOD.format(table="in 11.73 and 61.13 ms with one thread", ratio=1.94),
    ),
    "laptop": Board(
        description="one core of an AMD Ryzen Embedded V1605B (Zen, 2.0 to 3.6 GHz), as a laptop computer's",
        conv_gflops=5.04,
        source=_METHOD.format(table="in 22.13 and 76.58 ms with one thread", ratio=2.98),
    ),
}
