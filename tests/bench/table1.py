"""Measure Table I on its virtual machines and publish it (docs/results/table1). `python -m tests.bench.table1 --help`."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EXIT_OK
from harness.paths import EXPERIMENTS, REPOSITORY
from harness.results.run_paths import RunPaths
from tests.bench import table1_figure
from tests.bench.stage import EXIT_TERMINATED, BenchError, Stage, short
from tests.bench.table1_numbers import ALL, Tables, bars, curves

COMMAND = "python -m tests.bench.table1"
MACHINES = REPOSITORY / "inventory" / "table1.example"
PROGRAMS = REPOSITORY / "tests" / "bench" / "programs"
TARGET = REPOSITORY / "docs" / "results" / "table1"
SUBNET = "10.92.0.0/24"
VICTIM = ("node03", "2")
SEARCH, PEERS = "search", "forest_peers"
_BEGIN_SECONDS = 900


@dataclass(frozen=True)
class TableStage(Stage):
    """The mixed cluster of Table I."""

    subnet: str = SUBNET

    def up(self, nodes: int, *, dilation: float = 1.0, profile: str = "") -> object:  # type: ignore[override]
        """Raise it: always all machines, each at its own speed."""
        return self.harness(
            *("cluster", "up", "--name", self.cluster, "--machines", MACHINES.relative_to(REPOSITORY)),
            *("--link", "1gbit", "--dilation", f"{dilation:g}", "--subnet", self.subnet),
        )


def main() -> int:
    """Measure what is missing, print the bars, and publish; exit code 1 with the reason where a step failed."""
    chosen = _parse()
    if chosen.only_report:
        return _publish(chosen.output, chosen.target)
    stage = TableStage(ALL, 1, False, chosen.output, None, "table1", chosen.dilation, chosen.subnet)
    stage.output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # by way of `finally`: nothing is to be left
    try:
        stage.up(ALL, dilation=stage.dilation)
        for again in (False, True):
            done = stage.playbook({"node_runtimes": ["dask"], "dask_ray": True, "dataset_names": []})
            if again and done.changed:
                raise BenchError(f"provisioning again changed {done.changed} things")
        began = time.monotonic()
        _sweep(stage, "table1")
        minutes = (time.monotonic() - began) / 60
        (stage.output / "minutes.json").write_text(json.dumps(minutes), encoding="ascii")
        for name in (SEARCH, PEERS):
            _sweep(stage, name, "--nodes", str(ALL))
        _killed(stage)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if not chosen.keep:
            stage.down()
    return _publish(chosen.output, chosen.target)


def _sweep(stage: Stage, name: str, *arguments: str) -> None:
    directory = PROGRAMS if name == PEERS else EXPERIMENTS
    stage.sweep(directory / f"{name}.yaml", *arguments, into=f"runs/{name}")


def _killed(stage: Stage) -> None:
    """The last row again; a Pi's worker is killed in the middle."""
    results = stage.output / "runs" / "killed"
    command = [sys.executable, "-m", "harness", "sweep", "experiments/table1.yaml", "-i", str(stage.inventory),
               "-o", str(short(results)), "--nodes", str(ALL), "--variant", "batches", "-q",
               "--start-timeout", "400"]  # fmt: skip
    with subprocess.Popen(command, cwd=REPOSITORY) as sweep:
        deadline = time.monotonic() + _BEGIN_SECONDS
        while not _half_done(results) and sweep.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
        if sweep.poll() is None:
            os.kill(victim(*VICTIM), signal.SIGKILL)
        if sweep.wait() != EXIT_OK:
            raise BenchError("the sweep with a killed worker failed")


def _half_done(results: Path) -> bool:
    """Whether the driver says that a third of the trees is there."""
    for log in results.glob("table1/latest/trials/*/driver0.log"):
        for line in reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()):
            if '"progress"' in line:
                event = json.loads(line)
                return bool(3 * event["step"] >= event["steps"])
    return False


def victim(node: str, rank: str) -> int:
    """The process of a node's worker, which Dask's own processes descend from. Raises BenchError."""
    wanted = {"HARNESS_ROLE=worker", f"HARNESS_RANK={rank}", f"HARNESS_NODE={node}"}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            words = (path.parent / "cmdline").read_text().split("\0")
            if wanted <= set(path.read_text(errors="replace").split("\0")) and words[1].endswith("/programs/forest.py"):
                return int(path.parent.name)
        except (OSError, IndexError):
            continue
    raise BenchError(f"there is no worker {rank} on {node}")


def _publish(output: Path, target: Path) -> int:
    """Print the bars, and copy tables and figure; exit code 1 where there is no run."""
    run = _tables(output, "table1")
    if run is None:
        print(f"no run in {output}", file=sys.stderr)
        return 1
    minutes = output / "minutes.json"
    rows = bars(
        run, _tables(output, "killed"), _tables(output, SEARCH), _tables(output, PEERS),
        json.loads(minutes.read_text(encoding="ascii")) if minutes.exists() else None,
    )  # fmt: skip
    for row in rows:
        reached = {True: "held", False: "NOT HELD", None: ""}[row.held]
        print(f"{row.what:70} {row.measured():>24}  {reached}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("table1", "killed", SEARCH, PEERS):
        paths = _run(output, name)
        for file in (paths.manifest, paths.trials, paths.epochs, paths.ranks) if paths else ():
            shutil.copy2(file, target / (file.name if name == "table1" else f"{name}_{file.name}"))
    found = curves(run)
    table1_figure.draw(found, target / "table1.png")
    (target / "README.md").write_text(table1_figure.page(found, rows, f"sudo {COMMAND}"), encoding="utf-8")
    print(target)
    return 0


def _run(output: Path, name: str) -> RunPaths | None:
    experiment = name if name in (SEARCH, PEERS) else "table1"
    latest = output / "runs" / name / experiment / "latest"
    return RunPaths(latest.resolve()) if latest.exists() else None


def _tables(output: Path, name: str) -> Tables | None:
    paths = _run(output, name)
    if paths is None:
        return None
    read = [
        list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) for file in (paths.trials, paths.epochs)
    ]
    return Tables(*read)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure Table I and publish it, as root.")
    parser.add_argument("--dilation", type=float, default=6.0, help="slow time down (default: 6)")
    parser.add_argument("--subnet", default=SUBNET, help=f"addresses of the virtual machines (default: {SUBNET})")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--only-report", action="store_true", help="publish what an earlier call measured")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "table1", help="where the runs are kept")
    parser.add_argument("--target", type=Path, default=TARGET, help="where the figure and the tables go")
    chosen = parser.parse_args()
    if os.geteuid() != 0 and not chosen.only_report:
        parser.error("a virtual cluster needs root; try: sudo")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
