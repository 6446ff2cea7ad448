"""The verb `harness predict`: parse, call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import BadInputError
from harness.experiment import parse_counts
from harness.predict.question import Question
from harness.store import open_run
from harness.virtual.units import bits_per_second

MOST_NODES = 4096


def predict(
    run: Annotated[Path, typer.Argument(help="A run directory, or an experiment's directory of runs.", metavar="RUN")],
    nodes: Annotated[str, typer.Option("--nodes", "-n", help="Cluster sizes to predict, e.g. 1-64 or 16,32.")] = "1-64",
    link: Annotated[
        str | None,
        typer.Option("--link", help="What if each node's link were so fast, e.g. 1gbit.", show_default="10 times"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="What if a worker's batch were so large.", show_default="4 times"),
    ] = None,
    measured_link: Annotated[
        str | None,
        typer.Option("--measured-link", help="The link that the run was measured on.", show_default="the manifest's"),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option("--threshold", min=0.0, max=1.0, help="A node pays if it adds this share of one node's speed."),
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Predict other cluster sizes, links and batches from a run's measured trials; says how wrong it was on sizes left out."""
    question = Question(
        nodes=_sizes(nodes),
        link_bits_per_second=float(bits_per_second(link)) if link else None,
        batch=batch_size,
        measured_link_bits_per_second=float(bits_per_second(measured_link)) if measured_link else None,
        threshold=threshold,
    )
    # The libraries that analyse and plot take a second to load; no other verb needs them.
    from harness.predict.answer import answer  # noqa: PLC0415

    answer(open_run(run), question, as_json=as_json)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(parse_counts(text))
    except ValueError as error:
        raise BadInputError(f"--nodes {text}: {error}", "write it like 1-64 or 16,32") from None
    if sizes[-1] > MOST_NODES:
        raise BadInputError(f"--nodes {text}: more than {MOST_NODES} nodes", "ask for fewer")
    return sizes
