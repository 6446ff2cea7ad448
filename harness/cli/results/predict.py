"""The verb `predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.inputs import rate_of
from harness.cli.options import AsJson, MeasuredLink, RunDirectory, bounded, finite
from harness.errors import BadInputError
from harness.experiment.declaration import parse_counts
from harness.predict.question import Question
from harness.results.opening import open_run

app = verb_app()


@app.command()
def predict(
    run: RunDirectory,
    nodes: Annotated[
        str,
        typer.Option(
            "--nodes", "-n", metavar="N[,N...]", callback=bounded, help="How many nodes to predict: 1-64 or 16,32."
        ),
    ] = "1-64",
    link: Annotated[
        str | None,
        typer.Option("--link", help="Rate of each node's link to predict for, e.g. 1gbit.", show_default="10 times"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="A worker's batch to predict for.", show_default="4 times"),
    ] = None,
    measured_link: MeasuredLink = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, callback=finite, help="A node pays if it adds this share of one node's speed (0 to 1)."
        ),
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Predict other cluster sizes, links and batches from a run's measured trials.

    It also says how wrong it is for measured sizes that it was not told of.
    """
    question = Question(
        nodes=_sizes(nodes),
        link_bits_per_second=rate_of(link),
        batch=batch_size,
        measured_link_bits_per_second=rate_of(measured_link),
        threshold=threshold,
    )
    # The libraries that analyse and plot take a second to load; no other verb needs them.
    from harness.predict.answer import answer  # noqa: PLC0415

    answer(open_run(run), question, as_json=as_json)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(parse_counts(text))
    except ValueError as error:
        raise BadInputError(f"--nodes {text}: {error}", "write it like 1-64 or 16,32") from None
