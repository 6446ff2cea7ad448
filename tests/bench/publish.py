"""Make the published results (docs/results/) again. `python -m tests.bench.publish --help`.

Sweeps on one virtual cluster, each taken up where an earlier call was stopped; then their CSVs, manifests and figures are
copied to docs/results/. Time and accuracy are measured apart: time in few steps at one speed, accuracy in whole epochs that
nothing slows down.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli.options import DEFAULT_EXPERIMENT
from harness.errors import EXIT_OK
from harness.paths import EXPERIMENTS, REPOSITORY
from harness.results.run_paths import RunPaths
from tests.bench import pytorch
from tests.bench.stage import EXIT_TERMINATED, PROFILE, BenchError, Stage
from tests.bench.stores import BASELINES

PUBLISHED = EXPERIMENTS / "lenet_scaling.yaml"
TARGET = REPOSITORY / "docs" / "results"
_SOME_SIZES = (1, 2, 4, 8, 11)
_STEPS = 20  # of an epoch, where time is asked for and not accuracy
_EPOCHS = 3  # the first of which does not count
_TIMED = (f"epoch_steps={_STEPS}", f"epochs={_EPOCHS}", "validation=false")
# As many steps an epoch as `local_sgd` makes between averages.
_FEWER_STEPS = ("epoch_steps=10", f"epochs={_EPOCHS}", "validation=false")
# The machine's pace changes between trials: from 7 on an interval leaves out the extremes.
_REPEATS = ("--repeats", "7")
_VARIANT = "epochs_4"  # all take as long a step


@dataclass(frozen=True)
class Sweep:
    """One published sweep: where it goes, and what it is called with."""

    name: str
    experiment: Path
    arguments: tuple[str, ...]
    figures: tuple[str, ...]
    timed: bool = True
    """Whether times are asked of it: else nothing limits the processors, accuracy is no time."""
    profile: str = PROFILE
    slower: float = 1.0
    """By how much more time is slowed down for it."""
    accuracy_from: str | None = None
    """The sweep whose epochs its report takes accuracies from."""

    @property
    def directory(self) -> str:
        """Where its runs are, below the stage's output."""
        return f"runs/{self.name}"


def sweeps(nodes: int) -> list[Sweep]:
    """What is published, in the order in which it is measured. Pure."""
    some = ",".join(str(size) for size in _SOME_SIZES if size <= nodes)
    ends = ("--nodes", f"1,{nodes}", "--variant", _VARIANT)
    timed = _settings(*_TIMED)
    return [
        Sweep("accuracy", DEFAULT_EXPERIMENT, ("--nodes", some), ("accuracy_by_epoch",), timed=False),
        Sweep("accuracy_published", PUBLISHED, ("--nodes", "1", "--repeats", "3"), (), timed=False),
        Sweep(
            "scaling", DEFAULT_EXPERIMENT,
            ("--nodes", some, *_REPEATS, "--variant", _VARIANT, *_settings("kvstore=allreduce,none"), *timed),
            ("target", "steps", "scaling", "prediction"),
            accuracy_from="accuracy",
        ),
        Sweep(
            "in_turns", DEFAULT_EXPERIMENT,
            (*ends, *_REPEATS, "--env", "MXNET_ENGINE_TYPE=NaiveEngine", *_settings("kvstore=allreduce"), *timed),
            ("steps",),
        ),
        Sweep(
            "baselines", BASELINES, ("--nodes", str(nodes), *_settings(*_FEWER_STEPS)), ("throughput", "steps"),
            slower=2.0,  # a server on every node beside the worker is twice as much for this machine
        ),
        Sweep(
            "slow_board", DEFAULT_EXPERIMENT,
            (*ends, *_settings("kvstore=allreduce,none"), *timed),
            ("steps",), profile="pi3-slow",
        ),
    ]  # fmt: skip


def _settings(*settings: str) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


def main() -> int:
    """Run what is missing, and copy; exit code 0 when every trial is ok, 1 with the reason where a step failed."""
    chosen = _parse()
    stage = Stage(
        chosen.nodes, 1, False, chosen.output, pytorch.find_wheel(), cluster="results", dilation=chosen.dilation
    )
    stage.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # by way of `finally`: nothing is to be left
    try:
        stage.up(stage.nodes, profile="none")  # to provision faster
        pytorch.provision(stage)
        for sweep in sweeps(stage.nodes):
            if chosen.only and sweep.name not in chosen.only:
                continue
            if sweep.timed:
                stage.up(stage.nodes, dilation=stage.dilation * sweep.slower, profile=sweep.profile)
            else:
                stage.up(stage.nodes, profile="none")
            _copy(_run(stage, sweep), sweep, TARGET / f"virtual-{stage.nodes}" / sweep.name)
    except BenchError as error:
        print(f"{error}\nwhat was done is kept in {stage.output}: the same command goes on from there", file=sys.stderr)
        return 1
    finally:
        if not chosen.keep:
            stage.down()
    return 0


def _run(stage: Stage, sweep: Sweep) -> RunPaths:
    """The sweep's run, complete: an earlier one is resumed."""
    latest = _latest(stage, sweep)
    resume: Sequence[str] = ("--resume", str(latest.resolve())) if latest.exists() else ()
    run, _ = stage.sweep(sweep.experiment, *sweep.arguments, *resume, into=sweep.directory, good=(EXIT_OK,))
    if sweep.accuracy_from:
        stage.harness("predict", run)
        other = next(one for one in sweeps(stage.nodes) if one.name == sweep.accuracy_from)
        if _latest(stage, other).exists():
            stage.harness("report", run, "--accuracy-from", _latest(stage, other).resolve())
    return RunPaths(run)


def _latest(stage: Stage, sweep: Sweep) -> Path:
    return stage.output / sweep.directory / sweep.experiment.stem / "latest"


def _copy(run: RunPaths, sweep: Sweep, target: Path) -> None:
    """What a reader needs: tables, manifest, the figures that say most; `harness report` makes the rest from them."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in (run.manifest, run.trials, run.epochs, run.ranks):
        shutil.copy2(file, target)
    for name in sweep.figures:
        if (run.figures / f"{name}.png").is_file():  # a figure that would show nothing is not drawn
            shutil.copy2(run.figures / f"{name}.png", target)
    print(f"{run.root} -> {target}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.publish", description="Make the published results again, as root."
    )
    parser.add_argument("--nodes", type=int, default=11, help="virtual nodes (default: 11)")
    parser.add_argument("--dilation", type=float, default=2.0, help="slow time down (default: 2)")
    names = [sweep.name for sweep in sweeps(1)]
    parser.add_argument("--only", action="append", choices=names, help="this sweep only; may be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "publish", help="where the runs are kept")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("a virtual cluster needs root; try: sudo make results")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
