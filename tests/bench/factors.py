"""What the factors of dense gradients gain over the gradients themselves, where a model is mostly dense layers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measures import Series, read_series
from tests.bench.row import Row, at_least, ratio_row
from tests.bench.stage import Stage
from tests.bench.stores import BATCH, CONTROL, OURS, baselines_with

NODES = 4
MODEL = "lenet"
SUM, FACTORS = "sum", "factors"
STEPS, EPOCHS, CONTROL_EPOCHS = 8, 3, 5
FASTER = at_least(1.3)


def measure(stage: Stage) -> Iterator[Row]:
    """Train MXNet's LeNet on four nodes both ways and not synchronised, in one run."""
    own = {"model": MODEL, "epochs": EPOCHS, "kvstore": OURS, "limit": NODES * BATCH * STEPS, "batch_size": BATCH}
    variants = {
        CONTROL: {"parameters": {"kvstore": CONTROL, "epochs": CONTROL_EPOCHS}},
        SUM: {"parameters": {"dense_gradients": SUM}},
        FACTORS: {"parameters": {"dense_gradients": FACTORS}},
    }
    path = baselines_with(stage.output / "bench_factors.yaml", own, variants)
    nodes = min(NODES, stage.nodes)
    run, _ = stage.sweep(path, "--nodes", str(nodes), "--repeats", str(stage.repeats))
    yield from rows(read_series(run), nodes)


def rows(series: dict[str, Series], nodes: int) -> Iterator[Row]:
    """The table's lines; pure."""
    rates = {name: one.images_per_second for name, one in series.items()}
    where = f"{MODEL} at {nodes} nodes"
    for name in (SUM, FACTORS):
        sent = [rate.bytes_sent / 1e6 for rate in series[name].rates.values()]
        note = f"sent {sorted(sent)[len(sent) // 2]:.2f} MB a step" if sent else "; ".join(series[name].faults)
        yield ratio_row(f"{where}: kept with {name}", rates[name], rates[CONTROL], None, note)
    yield ratio_row(f"{where}: {FACTORS} / {SUM}", rates[FACTORS], rates[SUM], FASTER)
