"""What each store keeps of the throughput that the same nodes have when they train independently at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import yaml

from harness.advise.costs import link_seconds
from harness.contract.wire import PHASES
from harness.paths import EXPERIMENTS
from tests.bench.measures import Series, read_series
from tests.bench.row import Bar, Row, at_least, at_most, half_width_row, ratio_row
from tests.bench.stage import LINK, Stage

CONTROL, OURS, STOCK, TORCH, LOCAL = "none", "allreduce", "stock", "torch_ddp", "local_sgd"
BASELINES = EXPERIMENTS / "baselines.yaml"
HALF_WIDTH = 5.0  # per cent
BATCH = 64
FLOAT_BYTES = 4
LINK_BITS = {"100mbit": 100e6}[LINK]


@dataclass(frozen=True)
class Load:
    """How long to train one model; the control does not wait for its slowest to start, so it gets more epochs."""

    model: str
    parameters: int
    variants: tuple[str, ...]
    steps: int
    epochs: int
    control_epochs: int
    kept: Mapping[str, Bar]


# Of what is kept, LeNet-5 alone has bars.
KEPT = {OURS: at_least(0.85), LOCAL: at_least(0.98)}
# Variants in this order: the machine's pace drifts, so what is compared is to run next to each other.
LOADS = (
    Load(
        "lenet5",
        61_706,
        (STOCK, "tuned", LOCAL, CONTROL, OURS, TORCH),
        steps=40,
        epochs=6,
        control_epochs=12,
        kept=KEPT,
    ),
    Load("lenet", 431_080, (STOCK, CONTROL, OURS, TORCH), steps=6, epochs=2, control_epochs=6, kept={}),
)
QUICK_LOADS = (Load("lenet5", 61_706, (STOCK, CONTROL, OURS, TORCH), steps=15, epochs=2, control_epochs=10, kept=KEPT),)


def measure(stage: Stage) -> Iterator[Row]:
    """Sweep the baselines with each model, all variants of a repeat next to each other."""
    for load in QUICK_LOADS if stage.quick else LOADS:
        variants = [name for name in load.variants if name != TORCH or stage.torch_wheel]
        run, _ = stage.sweep(
            _experiment(stage, load, variants), "--nodes", str(stage.nodes), "--repeats", str(stage.repeats)
        )
        yield from rows(load, stage.nodes, read_series(run))


def rows(load: Load, nodes: int, series: Mapping[str, Series]) -> Iterator[Row]:
    """The table's lines of one model; pure."""
    where = f"{load.model} at {nodes} nodes"
    for name, one in series.items():
        yield Row(f"{where}: {name}", "images/s", list(one.images_per_second.values()), note=_detail(one))
    rates = {name: one.images_per_second for name, one in series.items()}
    control, ours = rates[CONTROL], rates[OURS]
    for name, rate in rates.items():
        if name != CONTROL:
            kept = ratio_row(f"{where}: kept by {name}", rate, control, load.kept.get(name))
            yield kept
            if name == OURS:
                yield half_width_row(kept, at_most(HALF_WIDTH))
    yield ratio_row(f"{where}: {OURS} / {STOCK}", ours, rates[STOCK], at_least(3.0) if load.model == "lenet" else None)
    missing = "" if TORCH in rates else "no PyTorch for the nodes: docs/how-to/pytorch.md"
    faster = at_least(2.0) if load.model == "lenet5" else None  # lenet's bytes alone allow less
    yield ratio_row(f"{where}: {OURS} / PyTorch DDP", ours, rates.get(TORCH, {}), faster, missing)
    if load.model == "lenet":
        bound = wire_seconds(load.parameters, nodes)
        yield Row(
            f"{where}: {OURS}'s step / the wire's bound",
            "",
            [rate.step_seconds / bound for rate in series[OURS].rates.values()],
            at_most(1.3),
            f"bound {1000 * bound:.0f} ms: even shards, sums and new values both cross every link",
        )


def wire_seconds(parameters: int, nodes: int) -> float:
    """Least time in which every node can send its gradients' shards and its own new values."""
    return link_seconds(2 * (nodes - 1) / nodes * parameters * FLOAT_BYTES, LINK_BITS)


def _experiment(stage: Stage, load: Load, variants: Sequence[str]) -> Path:
    """The baselines, cut to the load; the file the run can be made again from."""
    images = stage.nodes * BATCH * load.steps
    parameters = {"model": load.model, "epochs": load.epochs, "limit": images, "batch_size": BATCH}
    return shortened(stage.output / f"bench_{load.model}.yaml", parameters, load.control_epochs, variants)


def shortened(
    path: Path, parameters: Mapping[str, object], control_epochs: int, variants: Sequence[str] | None = None
) -> Path:
    """Write the baselines with other parameters to `path`, whose name they get; `variants`: these only.

    The control gets epochs of its own: its workers do not wait for each other, and some of its epochs are to overlap in all.
    """
    found = yaml.safe_load(BASELINES.read_text(encoding="utf-8"))["variants"]
    found[CONTROL]["parameters"]["epochs"] = control_epochs
    return baselines_with(path, parameters, found if variants is None else {name: found[name] for name in variants})


def baselines_with(path: Path, parameters: Mapping[str, object], variants: Mapping[str, object]) -> Path:
    """Write the baselines with some other parameters, and with these variants, to `path`, whose name they get."""
    document = yaml.safe_load(BASELINES.read_text(encoding="utf-8"))
    document |= {"name": path.stem, "parameters": document["parameters"] | parameters, "variants": dict(variants)}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _detail(series: Series) -> str:
    """A step in ms, and what it went into; what the parts leave is Python."""
    if not series.rates:
        return "; ".join(series.faults)
    found = list(series.rates.values())
    told = [phase for phase in PHASES if all(rate.phases.get(phase) for rate in found)]
    phases = [f"{phase} {_ms([rate.phases[phase] for rate in found])}" for phase in told]
    served = [rate.server_cpu_seconds for rate in found if rate.server_cpu_seconds is not None]
    parts = [
        f"step {_ms([rate.step_seconds for rate in found])} ms{': ' if phases else ''}{' '.join(phases)}",
        f"CPU {_ms([rate.cpu_seconds for rate in found])}" + (f" + server {_ms(served)}" if served else ""),
        f"{median(rate.packets for rate in found):.0f} packets",
        f"sent {median(rate.bytes_sent for rate in found) / 1000:.0f} kB",
        *series.faults,
    ]
    return ", ".join(parts)


def _ms(seconds: Sequence[float]) -> str:
    figure = 1000 * median(seconds)
    return f"{figure:.0f}" if figure >= 10 else f"{figure:.1f}"
