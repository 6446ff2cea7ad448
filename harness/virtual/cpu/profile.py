"""How fast a virtual node's threads are, by a stated rule. Pure, apart from `measure_machine` and reading a profile's file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import yaml

from harness.errors import BadInputError
from harness.experiment.rates import parse_rates
from harness.virtual.cpu import speed
from harness.virtual.cpu.boards import BOARDS, Board
from harness.virtual.host import cgroup
from harness.virtual.host.command import run

RULE = "share of a core = the board's rate / the rate of one core of this machine, both for LeNet-5's convolutions on 64 images"
LEAST_FRACTION = 0.005
MOST_FRACTION = 256
# What nodes may use together; the rest is for the switch, the controller and this machine itself.
USABLE_SHARE = 0.9
MEASURED_MODEL, MEASURED_BATCH = "lenet5", 64
# A training step of that takes 6.65 ms of a core that does the convolutions at 15.0 GFLOP/s: a virtual `pi3` trains 755 images
# a second (docs/results, `none` and `allreduce` at one node).
GFLOPS_OF_AN_IMAGE = 15.0 / (MEASURED_BATCH / 0.00665)
RATES_FILE = "rates.csv"
NO_LIMIT = "none"
PROFILES = (*BOARDS, NO_LIMIT)
_FILE_KEYS = ("description", "source", "conv_gflops", "images_per_second")


@dataclass(frozen=True)
class Quota:
    """A node's share of CPU and where it comes from; `fraction` in cores, None for no limit.

    `model` says how the node is held to it: its threads are stretched, or the kernel stops them when a quota is used up.
    """

    profile: str
    fraction: float | None
    rule: str
    board: Board | None = None
    machine_gflops: float | None = None
    model: str = speed.STRETCHED

    def as_json(self) -> dict[str, object]:
        """The manifest's form."""
        return asdict(self)


def check(profile: str, override: float | None, dilation: float = 1.0, model: str = speed.STRETCHED) -> None:
    """Raise BadInputError when there is no such profile or model, or `override` (cores) is no share of CPU that can be kept."""
    if model not in speed.MODELS:
        raise BadInputError(f"unknown CPU model {model!r}", f"use one of: {', '.join(speed.MODELS)}")
    board_of(profile)
    least = max(LEAST_FRACTION, cgroup.least_fraction(dilation) if model == speed.QUOTA else 0.0)
    if override is not None and not least <= override <= MOST_FRACTION:
        where = f" at a dilation of {dilation:g}" if dilation != 1 else ""
        raise BadInputError(
            f"--cpu {override:g} is no share of CPU{where}", f"give cores, {least:g} to {MOST_FRACTION}: --cpu 0.15"
        )


def board_of(profile: str) -> Board | None:
    """The board that a profile names or that its file describes; None for `none`. BadInputError where there is neither."""
    if profile in PROFILES:
        return BOARDS.get(profile)
    path = Path(profile).expanduser()
    if path.name == RATES_FILE or path.is_dir():
        return _measured_board(path)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise BadInputError(
            f"unknown profile {profile!r}",
            f"use one of: {', '.join(PROFILES)}; or a board's {RATES_FILE} that `harness benchmark` wrote, or a YAML file",
        )
    return _read_board(path)


def _measured_board(path: Path) -> Board:
    """The board that `harness benchmark` measured: the median of its nodes."""
    file = path / RATES_FILE if path.is_dir() else path
    try:
        rates = parse_rates(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"profile {file} cannot be read: {error}", f"name a benchmark's {RATES_FILE}") from error
    about = [str(value) for value in rates.about.values()]
    if MEASURED_MODEL not in about:
        raise BadInputError(
            f"profile {file} was not measured with {MEASURED_MODEL} ({', '.join(about)})",
            "measure the board with: harness benchmark lenet_scaling",
        )
    speed = median(MEASURED_BATCH / rate.step_seconds(MEASURED_BATCH) for rate in rates.nodes.values())
    return Board(
        f"measured: {', '.join(rate.node for rate in rates.nodes.values())}", speed * GFLOPS_OF_AN_IMAGE, str(file)
    )


def _read_board(path: Path) -> Board:
    example = "for example: images_per_second: 640 (LeNet-5, batch 64, one board alone)"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"profile {path} cannot be read: {error.strerror}", "name a file, or a profile") from error
    except (ValueError, yaml.YAMLError) as error:
        raise BadInputError(f"profile {path} is no YAML: {error}", example) from error
    if not isinstance(content, dict) or set(content) - set(_FILE_KEYS):
        raise BadInputError(f"profile {path} has other keys than {', '.join(_FILE_KEYS)}", example)
    rates = {key: content[key] for key in ("conv_gflops", "images_per_second") if key in content}
    good = [rate for rate in rates.values() if isinstance(rate, int | float) and 0 < rate < float("inf")]
    if len(rates) != 1 or not good:
        raise BadInputError(f"profile {path} must have one positive rate, conv_gflops or images_per_second", example)
    rate = float(good[0]) * (1.0 if "conv_gflops" in rates else GFLOPS_OF_AN_IMAGE)
    return Board(str(content.get("description", path.stem)), rate, str(content.get("source", f"measured: {path}")))


def needs_measurement(profile: str, override: float | None) -> bool:
    """Whether the quota follows from this machine's rate."""
    return override is None and profile != NO_LIMIT


def quota_of(profile: str, machine_gflops: float | None, override: float | None, model: str = speed.STRETCHED) -> Quota:
    """The share of `profile` on a machine whose core does `machine_gflops`; `override` (cores) wins over the rule.

    Raises ValueError when the rule needs the machine's rate and there is none.
    """
    board = board_of(profile)
    if override is not None:
        return Quota(profile, override, "given by the user", board, machine_gflops, model)
    if board is None:
        return Quota(profile, None, "no limit", None, machine_gflops, model)
    if machine_gflops is None:
        raise ValueError(f"profile {profile} needs this machine's rate")
    fraction = round(max(LEAST_FRACTION, board.conv_gflops / machine_gflops), 4)
    return Quota(profile, fraction, RULE, board, machine_gflops, model)


def measure_machine() -> float:
    """Rate of one core of this machine for small convolutions in GFLOP/s, best of several (about three seconds).

    In a process of its own: the number of BLAS threads can only be set before numpy is imported.
    """
    variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    settings = [f"{variable}=1" for variable in variables]
    output = run(["env", *settings, sys.executable, "-m", "harness.virtual.cpu.convolution"], limit=60)
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
