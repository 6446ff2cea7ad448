"""Measure, print one table, write it as JSON. `python -m tests.bench --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.paths import REPOSITORY
from tests.bench import (
    accuracy,
    cluster,
    factors,
    images,
    live_page,
    native_kvstore,
    one_speed,
    overhead,
    prediction,
    pytorch,
    single,
    stores,
)
from tests.bench.measures import IncomparableError
from tests.bench.row import Row
from tests.bench.stage import EXIT_TERMINATED, PROFILE, BenchError, Stage

Part = Callable[[Stage], Iterator[Row]]

PARTS: dict[str, Part] = {
    "cluster": cluster.measure,
    "overhead": overhead.measure,
    "one_speed": one_speed.measure,
    "single": single.measure,
    "stores": stores.measure,
    "native": native_kvstore.measure,
    "factors": factors.measure,
    "prediction": prediction.measure,
    "accuracy": accuracy.measure,
    "images": images.measure,
    "live": live_page.measure,
}
WITHOUT_CLUSTER = frozenset({"images", "live"})
ON_NODES = frozenset(PARTS) - {"cluster"} - WITHOUT_CLUSTER
DILATED = frozenset({"one_speed", "stores", "native", "factors", "prediction"})
WITH_TORCH = frozenset({"stores", "single"})
_FAILED = "failed: "


def main() -> int:
    """Run the chosen parts; exit code 0 when every bar that was measured holds, 1 when one does not or a part failed."""
    chosen = _parse()
    chosen.output.mkdir(parents=True, exist_ok=True)
    wheel = chosen.torch_wheel
    if wheel is None and not (chosen.no_torch or chosen.quick) and WITH_TORCH & set(chosen.only):
        wheel = pytorch.find_wheel()
    repeats = chosen.repeats or (1 if chosen.quick else 2)
    stage = Stage(chosen.nodes, repeats, chosen.quick, chosen.output / "bench", wheel, dilation=chosen.dilation)
    stage.output.mkdir(exist_ok=True)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # by way of `finally`: nothing is to be left
    try:
        rows = [(name, row) for name in PARTS if name in chosen.only for row in _measure(name, stage, set(chosen.only))]
    finally:
        if not chosen.keep and set(chosen.only) - WITHOUT_CLUSTER:
            with suppress(BenchError):
                stage.down()
    path = chosen.output / "bench.json"
    path.write_text(json.dumps(_document(stage, rows, time.monotonic() - began), indent=1) + "\n", encoding="utf-8")
    _print(rows)
    failed = any(row.held is False or row.note.startswith(_FAILED) for _, row in rows)
    print(f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}; log: {stage.output}/log.txt")
    return int(failed)


def _measure(name: str, stage: Stage, chosen: set[str]) -> Iterator[Row]:
    """The rows of one part; a part that fails is a row that says so, and the others go on."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        if name in ON_NODES:
            _prepare(name, stage, chosen)
        yield from PARTS[name](stage)
    except (
        BenchError,
        IncomparableError,
        OSError,
        LookupError,
        ValueError,
    ) as error:  # the last two: of what it printed
        print(error, file=sys.stderr)
        yield Row(name, "", note=_FAILED + (str(error) or type(error).__name__).splitlines()[0])


def _prepare(part: str, stage: Stage, chosen: set[str]) -> None:
    """Have the cluster up and provisioned, under the conditions of the part; provisioned at full speed."""
    order = list(PARTS).index
    fresh = "cluster" not in chosen and part == min(ON_NODES & chosen, key=order)
    first_with_torch = part in WITH_TORCH and part == min(WITH_TORCH & chosen, key=order)
    if first_with_torch:
        stage.up(stage.nodes, profile="none")
        pytorch.provision(stage)
    elif fresh:
        stage.up(stage.nodes, profile="none")
        stage.playbook()
    dilation = stage.dilation if part in DILATED else 1.0
    stage.up(stage.nodes, dilation=dilation, profile=PROFILE)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure the project's promises, as root."
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS), metavar="NAME", help=f"of: {', '.join(PARTS)}")
    add("--nodes", type=int, default=11, help="virtual nodes (default: 11)")
    add("--repeats", type=int, default=None, help="of everything that is repeated (default: 2, with --quick 1)")
    add("--quick", action="store_true", help="whether it works, rather than how fast: one repeat, no PyTorch")
    add("--dilation", type=float, default=3.0, help="slow time down where all nodes train at once (default: 3)")
    add(
        "--torch-wheel",
        type=Path,
        default=None,
        help="PyTorch's CPU wheel for the nodes' Python; see docs/how-to/pytorch.md",
    )
    add("--no-torch", action="store_true", help="leave PyTorch out")
    add("--keep", action="store_true", help="leave the cluster up, for the next run's parts")
    add(
        "--output",
        type=Path,
        default=REPOSITORY / "build",
        help="directory of bench.json and the runs (default: build)",
    )
    chosen = parser.parse_args()
    if os.geteuid() != 0 and set(chosen.only) - WITHOUT_CLUSTER:
        parser.error("a virtual cluster needs root; try: sudo make bench")
    return chosen


def _document(stage: Stage, rows: Sequence[tuple[str, Row]], seconds: float) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "nodes": stage.nodes,
        "repeats": stage.repeats,
        "dilation": stage.dilation,
        "quick": stage.quick,
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_1m": os.getloadavg()[0]},
        "rows": [{"part": part, **row.as_json()} for part, row in rows],
    }


def _print(rows: Sequence[tuple[str, Row]]) -> None:
    table = Table("what", "measured", "bar", "held", "note", title="make bench", box=None)
    words = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}
    for _, row in rows:
        bar = f"{row.bar.relation} {row.bar.value:g} {row.unit}".strip() if row.bar else ""
        table.add_row(row.what, row.measured(), bar, words[row.held], row.note)
    # where it is written to a file, a line is as long as it has to be
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    sys.exit(main())
