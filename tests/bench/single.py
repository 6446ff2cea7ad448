"""One node alone: this program against the plainest MXNet loop and plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.paths import REPOSITORY
from tests.bench.measures import Series, read_series
from tests.bench.row import Row, at_least, ratio_row
from tests.bench.stage import Stage

EXPERIMENT = REPOSITORY / "tests" / "bench" / "programs" / "single_node.yaml"
IMAGES, QUICK_IMAGES = 3200, 1600
OURS, GLUON, TORCH = "ours", "gluon", "torch"


def measure(stage: Stage) -> Iterator[Row]:
    """Sweep the three programs, next to each other in every repeat."""
    variants = [OURS, GLUON, TORCH] if stage.torch_wheel else [OURS, GLUON]
    run, _ = stage.sweep(
        EXPERIMENT,
        *("--repeats", str(stage.repeats), "--set", f"limit={QUICK_IMAGES if stage.quick else IMAGES}"),
        *(word for name in variants for word in ("--variant", name)),
    )
    yield from rows(read_series(run))


def rows(series: Mapping[str, Series]) -> Iterator[Row]:
    """The table's lines; pure."""
    for name, one in series.items():
        yield Row(
            f"one node alone: {name}", "images/s", list(one.images_per_second.values()), note="; ".join(one.faults)
        )
    rates = {name: one.images_per_second for name, one in series.items()}
    missing = "" if TORCH in rates else "no PyTorch for the nodes: docs/how-to/pytorch.md"
    yield ratio_row("one node alone: ours / plainest Gluon", rates[OURS], rates[GLUON], at_least(1.0))
    yield ratio_row("one node alone: ours / plain PyTorch", rates[OURS], rates.get(TORCH, {}), at_least(1.0), missing)
