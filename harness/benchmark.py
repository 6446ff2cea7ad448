"""How fast every node trains by itself: an experiment's own program, on all nodes at once, none waiting for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.disk import read_rows, write_atomically
from harness.errors import BadInputError
from harness.experiment import Experiment, Value, by_rate, validate
from harness.inventory import Cluster, Node
from harness.plan import expand
from harness.rates import Rate, Rates, fit, parse_rates, rate_rows, rates_text, step_samples
from harness.store import RunPaths, open_run

_NEEDED = ("batch_size", "kvstore")
# Of stores alone; without one they would be refused.
_OF_STORES = ("synchronise_every", "wire", "threshold")
# Tells the program which store it will train with: what a store wants of MXNet is the program's affair.
_COMPUTE_AS = "HARNESS_COMPUTE_AS"


def nominal_batch(declared: Experiment) -> int:
    """The batch size that an experiment asks of every worker. Raises BadInputError where it has none."""
    for name in _NEEDED:
        if name not in declared.parameters:
            raise BadInputError(
                f"experiment '{declared.name}' has no parameter {name}: its rate cannot be measured",
                "name an experiment of train.py, e.g. experiments/lenet_scaling.yaml",
            )
    batch = declared.parameters["batch_size"]
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise BadInputError(f"experiment '{declared.name}': batch_size {batch} is no count", "--set batch_size=64")
    return batch


def usual_batches(batch: int) -> list[int]:
    """Sizes around the nominal one: what a slow and a fast node will get lies between them."""
    return sorted({max(1, batch // 4), batch, 2 * batch})


def benchmark_of(
    declared: Experiment, nodes: int, batches: Sequence[int], steps: int, epochs: int, repeats: int = 1
) -> Experiment:
    """The experiment that measures: no store, no validation, each batch size as a variant, in so few steps an epoch.

    One epoch more than `epochs`, since the first is left out. With each of `repeats` all batch sizes have another turn, so
    that a drift of the machines does not pass for a cost. Raises BadInputError where two batch sizes do not differ, or trials
    that will share by these rates train with several stores.
    """
    if len(set(batches)) < 2:
        raise BadInputError(
            f"a batch size alone ({batches[0]}) cannot tell a step's fixed cost from its images'", "name two or more"
        )
    nominal_batch(declared)
    parameters: dict[str, Value] = {
        **declared.parameters,
        **{name: None for name in _OF_STORES if name in declared.parameters},
        "kvstore": "none",
        "validation": False,
        "epochs": epochs + 1,
        "batch_size": min(batches),
        "limit": min(batches) * steps * nodes,
    }
    document = {
        "name": f"{declared.name}_benchmark",
        "description": f"How fast each node trains by itself, all at once: the program of {declared.name}.",
        "program": declared.program,
        "parameters": parameters,
        "environment": {_COMPUTE_AS: _store_of(declared), **declared.environment},
        "variants": {
            f"batch_{size}": {"parameters": {"batch_size": size, "limit": size * steps * nodes}}
            for size in sorted(set(batches))
        },
        "axes": {"nodes": [nodes], "repeats": repeats},
    }
    return validate(document, "benchmark")


def _store_of(declared: Experiment) -> str:
    """The store of the trials that will share batches by rate; of all, where none will."""
    trials = expand(by_rate(declared))
    sharing = [trial for trial in trials if trial.batches == "by_rate"] or trials
    stores = sorted({str(trial.parameters["kvstore"]) for trial in sharing})
    if len(stores) > 1:
        raise BadInputError(
            f"experiment '{declared.name}' trains with several stores, and nodes compute differently with them: "
            f"{', '.join(stores)}",
            f"measure for one of them: --set kvstore={stores[0]}",
        )
    return stores[0]


def measured_rates(paths: RunPaths, benchmark: Experiment, cluster: Cluster) -> list[Rate]:
    """Every node's rate from the run's epochs.csv, in inventory order. Raises BadInputError where they do not tell it."""
    batch_of = {trial.id: int(str(trial.parameters["batch_size"])) for trial in expand(benchmark)}
    samples = step_samples(read_rows(paths.epochs), batch_of)
    if not samples:
        raise BadInputError(
            f"{paths.root} has no epoch after a trial's first: no rate can be told",
            "name an experiment whose program prints `epoch` events, e.g. experiments/lenet_scaling.yaml",
        )
    return [_rate(node, samples[node.name]) for node in cluster.nodes if node.name in samples]


def write_rates(
    paths: RunPaths, benchmark: Experiment, cluster: Cluster, rates: Sequence[Rate], batch_size: int
) -> list[dict[str, str | float]]:
    """Write rates.csv of a run; its rows, shares of a global batch of `batch_size` a node. Raises StoreError."""
    rows = rate_rows(rates, batch_size)
    write_atomically(paths.rates, rates_text(_about(paths, benchmark, cluster, batch_size), rows).encode())
    return rows


def load_rates(path: Path) -> Rates:
    """The rates of a file, or of a benchmark's run directory. Raises BadInputError."""
    file = open_run(path).rates if path.is_dir() else path
    try:
        return parse_rates(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"cannot read rates {file}: {error}", "name a benchmark's run directory, or its rates.csv"
        ) from None


def unlike(rates: Rates, declared: Experiment) -> str:
    """What the rates were measured with, where the experiment trains something else; empty where it is the same."""
    ours = _subject(declared.program, declared.parameters)
    theirs = {name: rates.about[name] for name in ours if name in rates.about}
    differing = [f"{name} {theirs[name]}" for name in theirs if theirs[name] != ours[name]]
    return ", ".join(differing)


def _rate(node: Node, samples: Mapping[int, float]) -> Rate:
    try:
        return Rate(node.name, node.address, *fit(samples))
    except ValueError as error:
        remedy = "let the program print its `epoch` events on every node, at every batch size"
        raise BadInputError(f"{node.name} has no rate: {error}", remedy) from None


def _about(paths: RunPaths, benchmark: Experiment, cluster: Cluster, batch_size: int) -> Mapping[str, Any]:
    sizes = [variant.parameters["batch_size"] for variant in benchmark.variants.values()]
    return {
        **_subject(benchmark.program, benchmark.parameters),
        "batch_size": batch_size,
        "batch_sizes": " ".join(map(str, sizes)),
        "epochs": benchmark.parameters["epochs"],
        "inventory": cluster.inventory,
        "cluster": cluster.kind,
        "run": paths.root.name,
        "harness": __version__,
    }


def _subject(program: str, parameters: Mapping[str, Value]) -> dict[str, str]:
    """What a rate is a rate of."""
    return {"program": program, **{name: str(parameters[name]) for name in ("model", "dataset") if name in parameters}}
