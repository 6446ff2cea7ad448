"""This project's parameter servers against MXNet's own: speed of training, memory of a server, processor of a worker."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

from tests.bench.measures import read_series
from tests.bench.row import Row, at_least, at_most, ratio_row
from tests.bench.stage import BenchError, Stage
from tests.bench.stores import baselines_with

NATIVE, OWN = "native", "mxnet"
BATCH, STEPS, EPOCHS = 64, 20, 3
PUSH_PULLS = 100
SERVER_MB = 10.0
LOOK_SECONDS = 0.5
PUSH_PULL = Path(__file__).parent / "programs" / "push_pull.py"
# Arrays of so many elements are spread over the servers, as train.py derives it for LeNet-5: docs/explanation/training.md.
BOUND, FEW_SERVERS, BOUND_OF_FEW = 2_400, 5, 10_080


def measure(stage: Stage) -> Iterator[Row]:
    """LeNet-5 with both, next to each other in each repeat; then their push-pulls alone."""
    run, _ = stage.sweep(_experiment(stage), "--nodes", str(stage.nodes), "--repeats", str(stage.repeats))
    series = read_series(run)
    where = f"lenet5 at {stage.nodes} nodes"
    for name, one in series.items():
        step = [f"{1000 * rate.step_seconds:.1f}" for rate in one.rates.values()]
        note = "; ".join([f"ms a step: {', '.join(step)}", *one.faults])
        yield Row(f"{where}: {name} servers", "images/s", list(one.images_per_second.values()), note=note)
    rates = {name: one.images_per_second for name, one in series.items()}
    yield ratio_row(f"{where}: native / MXNet's own servers", rates[NATIVE], rates[OWN], at_least(1.0), "aim: 1.3")
    cpu: dict[str, dict[int, float]] = {NATIVE: {}, OWN: {}}
    memory: dict[str, list[float]] = {NATIVE: [], OWN: []}
    for repeat in range(1, stage.repeats + 1):
        for name, found in cpu.items():
            with ServerMemory() as servers:
                found[repeat] = _push_pull(stage, name)
            memory[name].append(servers.bytes / 1e6)
    for name, sizes in memory.items():
        yield Row(f"{where}: memory of a server, {name}", "MB", sizes, at_most(SERVER_MB) if name == NATIVE else None)
    for name, found in cpu.items():
        yield Row(f"{where}: a worker's CPU of a push-pull, {name}", "ms", [1000 * each for each in found.values()])
    yield ratio_row(f"{where}: that of native / MXNet's own", cpu[NATIVE], cpu[OWN], at_most(1.0))


class ServerMemory:
    """Looks every few seconds at the resident memory of all servers on this machine while it is entered.

    Not ranks.csv's `max_rss_bytes`: a native server begins as Python for a moment, and then becomes the program.
    """

    def __init__(self) -> None:
        self._looks: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> ServerMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def bytes(self) -> float:
        """The largest server's, in the middle one of all looks: most are at servers that serve."""
        return median(self._looks) if self._looks else 0.0

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            sizes = [_resident(directory) for directory in Path("/proc").glob("[0-9]*")]
            if largest := max(sizes):
                self._looks.append(largest)


def _resident(directory: Path) -> int:
    """Resident bytes of a process, 0 where it is no server of a trial on a virtual node."""
    try:
        if b"HARNESS_ROLE=server" not in (directory / "environ").read_bytes().split(b"\0"):
            return 0
        # Not VmRSS of `status`: the kernel counts that in batches, which are larger than a native server.
        found = re.search(r"^Rss:\s+(\d+) kB$", (directory / "smaps_rollup").read_text("ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _experiment(stage: Stage) -> Path:
    images = stage.nodes * BATCH * STEPS
    own = {"epochs": EPOCHS, "limit": images, "batch_size": BATCH, "kvstore_implementation": NATIVE}
    variants = {name: {"parameters": {"kvstore_implementation": name}} for name in (NATIVE, OWN)}
    return baselines_with(stage.output / "bench_native.yaml", own, variants)


def _push_pull(stage: Stage, implementation: str) -> float:
    """Processor seconds of a push-pull, the mean over the workers."""
    results = stage.output / "runs"
    bound = BOUND_OF_FEW if stage.nodes <= FEW_SERVERS else BOUND
    stage.harness(
        *("launch", "-n", str(stage.nodes), "-i", stage.inventory, "-o", results, "-q", "--start-timeout", "400"),
        *("--env", f"MXNET_KVSTORE_IMPLEMENTATION={implementation}"),
        *("--env", f"MXNET_KVSTORE_BIGARRAY_BOUND={bound}", "--env", "MXNET_CPU_WORKER_NTHREADS=1"),
        *("--", "python", PUSH_PULL, str(PUSH_PULLS)),
    )
    logs = (results / "launch" / "latest").glob("trials/*/worker*.log")
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    if len(lines) != stage.nodes:
        raise BenchError(f"{len(lines)} of {stage.nodes} workers told what a push-pull costs")
    return mean(float(json.loads(line)["cpu_seconds"]) for line in lines)
