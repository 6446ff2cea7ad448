"""How fast every node trains by itself: an experiment's own program, on all nodes at once, none waiting for another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.contract import wire
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, by_rate, validate
from harness.experiment.parameter import Value
from harness.experiment.plan import expand
from harness.experiment.rates import Rate, Rates, fit, item_seconds, parse_rates, rate_rows, rates_text, step_samples
from harness.nodes.inventory import Cluster, Node
from harness.results.disk import read_rows, write_atomically
from harness.results.opening import open_run
from harness.results.run_paths import RunPaths

_REMEDY = "name an experiment of a program that says how it is measured alone, e.g. lenet_scaling"


WHOLE = 1000
"""Items of a node's nominal share of programs that have no batch: their rates do not depend on it."""


def has_batch(declared: Experiment) -> bool:
    """Whether a node's rate depends on a batch size, at several of which it is then measured."""
    return declared.program_of("").batch is not None


def nominal_batch(declared: Experiment) -> int:
    """The batch size that an experiment asks of every worker; WHOLE where its program has none.

    Raises BadInputError where it has none, or its program does not say how one node is measured by itself.
    """
    program = declared.program_of("")
    if not program.alone:
        raise BadInputError(
            f"experiment '{declared.name}': {program.name} cannot be measured: its description has no `alone`", _REMEDY
        )
    if program.batch is None:
        return WHOLE
    for name in (program.batch, *program.control):
        if name not in declared.parameters:
            raise BadInputError(
                f"experiment '{declared.name}' has no parameter {name}: its rate cannot be measured", _REMEDY
            )
    batch = declared.parameters[program.batch]
    if not isinstance(batch, int) or isinstance(batch, bool):
        raise BadInputError(
            f"experiment '{declared.name}': {program.batch} {batch} is no count", f"--set {program.batch}=64"
        )
    return batch


def usual_batches(batch: int) -> list[int]:
    """Sizes around the nominal one: what a slow and a fast node will get lies between them."""
    return sorted({max(1, batch // 4), batch, 2 * batch})


def benchmark_of(
    declared: Experiment, nodes: int, batches: Sequence[int], steps: int, epochs: int, repeats: int = 1
) -> Experiment:
    """The experiment that measures: every node alone, each batch size as a variant, in so few steps an epoch.

    One epoch more than `epochs`, since the first is left out. With each of `repeats` all batch sizes have another turn, so
    that a drift of the machines does not pass for a cost. Raises BadInputError where two batch sizes do not differ, or trials
    that will share by these rates train with several stores.
    """
    if len(set(batches)) < 2:
        raise BadInputError(
            f"a batch size alone ({batches[0]}) cannot tell a step's fixed cost from its images'", "name two or more"
        )
    nominal_batch(declared)
    program = declared.program_of("")

    def sized(batch: int) -> dict[str, Value]:
        limit = {program.limit: batch * steps * nodes} if program.limit else {}
        return {str(program.batch): batch, **limit}

    parameters: dict[str, Value] = {
        **_alone(declared),
        **({program.epochs: epochs + 1} if program.epochs else {}),
        **sized(min(batches)),
    }
    document = {
        "name": f"{declared.name}_benchmark",
        "description": f"How fast each node trains by itself, all at once: the program of {declared.name}.",
        "program": declared.program,
        "parameters": parameters,
        "environment": {wire.MEASURED_AS: json.dumps(_shared_values(declared)), **declared.environment},
        "variants": {f"batch_{size}": {"parameters": sized(size)} for size in sorted(set(batches))},
        "axes": {"nodes": [nodes], "repeats": repeats},
    }
    return validate(document, "benchmark", directory=declared.directory)


def benchmark_of_work(declared: Experiment, nodes: int, repeats: int) -> Experiment:
    """The experiment that measures a program without a batch: every node does all of the work by itself.

    Raises BadInputError where the program does not say how.
    """
    nominal_batch(declared)
    document = {
        "name": f"{declared.name}_benchmark",
        "description": f"How fast each node does the work of {declared.name} by itself, all at once.",
        "program": declared.program,
        "parameters": _alone(declared),
        "environment": declared.environment,
        "axes": {"nodes": [nodes], "repeats": repeats},
    }
    return validate(document, "benchmark", directory=declared.directory)


def _alone(declared: Experiment) -> dict[str, Value]:
    """The parameters with which a node does the work by itself."""
    program = declared.program_of("")
    idle = {name: None for name in program.depending_on(program.alone) if name in declared.parameters}
    return {**declared.parameters, **idle, **program.alone}


def _shared_values(declared: Experiment) -> dict[str, Value]:
    """What the measurement changes has these values in the trials that will share batches by rate; of all, where none will."""
    trials = expand(by_rate(declared))
    sharing = [trial for trial in trials if trial.batches == "by_rate"] or trials
    values: dict[str, Value] = {}
    for name in declared.program_of("").control:
        found = sorted({str(trial.parameters[name]) for trial in sharing})
        if len(found) > 1:
            raise BadInputError(
                f"experiment '{declared.name}' trains with several values of {name}, and nodes compute differently with "
                f"them: {', '.join(found)}",
                f"measure for one of them: --set {name}={found[0]}",
            )
        values[name] = sharing[0].parameters[name]
    return values


def measured_rates(paths: RunPaths, benchmark: Experiment, cluster: Cluster) -> list[Rate]:
    """Every node's rate from the run's epochs.csv, in inventory order. Raises BadInputError where they do not tell it."""
    if not has_batch(benchmark):
        return _rates_of_work(paths, cluster)
    batch_of = {trial.id: trial.batch or 0 for trial in expand(benchmark)}
    samples = step_samples(read_rows(paths.epochs), batch_of)
    if not samples:
        raise BadInputError(
            f"{paths.root} has no epoch after a trial's first: no rate can be told",
            "name an experiment whose program prints `epoch` events, e.g. lenet_scaling",
        )
    return [_rate(node, samples[node.name]) for node in cluster.nodes if node.name in samples]


def _rates_of_work(paths: RunPaths, cluster: Cluster) -> list[Rate]:
    found = item_seconds(read_rows(paths.epochs))
    if missing := [node.name for node in cluster.nodes[: len(found) or 1] if node.name not in found]:
        raise BadInputError(
            f"{paths.root} does not say what {', '.join(missing)} did: no rate can be told",
            "let the program print `images` and `train_seconds` in its `epoch` events",
        )
    return [Rate(node.name, node.address, 0.0, found[node.name]) for node in cluster.nodes if node.name in found]


def write_rates(
    paths: RunPaths, benchmark: Experiment, cluster: Cluster, rates: Sequence[Rate], batch_size: int
) -> list[dict[str, str | float]]:
    """Write rates.csv of a run; its rows, shares of a global batch of `batch_size` a node. Raises ResultsError."""
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
    ours = _subject(declared)
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
    program = benchmark.program_of("")
    sizes = [variant.parameters[str(program.batch)] for variant in benchmark.variants.values() if program.batch]
    return {
        **_subject(benchmark),
        "batch_size": batch_size,
        **({"batch_sizes": " ".join(map(str, sizes))} if sizes else {}),
        "epochs": benchmark.parameters[program.epochs] if program.epochs else 1,
        "inventory": cluster.inventory,
        "cluster": cluster.kind,
        "run": paths.root.name,
        "harness": __version__,
    }


def _subject(declared: Experiment) -> dict[str, str]:
    """What a rate is a rate of."""
    subject = declared.program_of("").subject
    parameters = declared.parameters
    return {"program": declared.program, **{name: str(parameters[name]) for name in subject if name in parameters}}
