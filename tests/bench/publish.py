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
from pathlib import Path

from harness.errors import EXIT_OK
from harness.paths import REPOSITORY
from harness.results.run_paths import RunPaths
from tests.bench import pytorch
from tests.bench.published import SETS, Sweep
from tests.bench.stage import EXIT_TERMINATED, BenchError, Stage

TARGET = REPOSITORY / "docs" / "results"
PLACES = {"scaling": "virtual-{nodes}"}


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
        sweeps = SETS[chosen.what](stage.nodes)
        for sweep in sweeps:
            if chosen.only and sweep.name not in chosen.only:
                continue
            if sweep.timed:
                dilation = stage.dilation * sweep.slower
                stage.up(stage.nodes, dilation=dilation, profile=sweep.profile, others=sweep.node_options)
            else:
                stage.up(stage.nodes, profile="none")
            run = _run(stage, sweep, [other for other in sweeps if other.name == sweep.accuracy_from])
            _copy(run, sweep, TARGET / PLACES.get(chosen.what, chosen.what).format(nodes=stage.nodes) / sweep.name)
    except BenchError as error:
        print(f"{error}\nwhat was done is kept in {stage.output}: the same command goes on from there", file=sys.stderr)
        return 1
    finally:
        if not chosen.keep:
            stage.down()
    return 0


def _run(stage: Stage, sweep: Sweep, accuracies: Sequence[Sweep]) -> RunPaths:
    """The sweep's run, complete: an earlier one is resumed. Its report takes accuracies from another one's, if there is."""
    latest = _latest(stage, sweep)
    resume: Sequence[str] = ("--resume", str(latest.resolve())) if latest.exists() else ()
    run, _ = stage.sweep(sweep.experiment, *sweep.arguments, *resume, into=sweep.directory, good=(EXIT_OK,))
    for other in accuracies:
        stage.harness("predict", run)
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
    parser.add_argument(
        "what", nargs="?", choices=tuple(SETS), default="scaling", help="which results (default: scaling)"
    )
    names = [sweep.name for sweeps in SETS.values() for sweep in sweeps(1)]
    parser.add_argument("--only", action="append", choices=names, help="this sweep only; may be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "publish", help="where the runs are kept")
    chosen = parser.parse_args()
    if unknown := set(chosen.only or ()) - {sweep.name for sweep in SETS[chosen.what](1)}:
        parser.error(f"{chosen.what} has no {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("a virtual cluster needs root; try: sudo make results")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
