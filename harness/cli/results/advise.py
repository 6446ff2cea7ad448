"""The verb `advise`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.inputs import find_cluster, rate_of
from harness.cli.options import (
    DEFAULT_RESULTS,
    DEFAULT_TELEMETRY_SECONDS,
    AsJson,
    AskBecomePass,
    MeasuredLink,
    Results,
    Settings,
    Target,
)
from harness.errors import EXIT_TRIALS_FAILED, BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.declaration import Experiment, validate
from harness.experiment.overrides import with_overrides
from harness.experiment.parameter import Value
from harness.experiment.program import Program

app = verb_app()

MOST_NODES = 64


@app.command()
def advise(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="What is trained.", show_default=False)],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="What it is trained on.", show_default=False)],
    inventory: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--inventory",
            help="Nodes as in this inventory, with their memory and profiles; without --try none is contacted.",
            envvar="HARNESS_INVENTORY",
            show_default="as many nodes as --nodes says, all alike; with --try as of sweep",
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            "--nodes",
            "-n",
            metavar="N",
            min=1,
            max=MOST_NODES,
            help="How many nodes at most.",
            show_default="all of the inventory, else 4",
        ),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            "--link",
            help="Each node's link, e.g. 100mbit; or one medium of all, e.g. wifi:30mbit.",
            show_default="the virtual cluster's, else 100mbit, or wifi where the inventory says so",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="Speed of the nodes, as for `cluster up`: a board's name, or a file with its measured rate.",
            show_default="the run's or the inventory's, else pi3",
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory of each node.", show_default="the inventory's, else 1GiB")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="A worker's images of a step.", show_default="the program's"),
    ] = None,
    settings: Settings = None,
    rates: Annotated[
        Path | None,
        typer.Option(
            "--rates", metavar="RATES", help="Measured rates of the nodes: a run of `benchmark`, or its rates.csv."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="Take the costs that `predict` fits to this run, not stated ones."),
    ] = None,
    measured_link: MeasuredLink = None,
    program: Annotated[
        str,
        typer.Option("--program", help="The program that declares the strategies; one here, or one that comes along."),
    ] = "train.py",
    accuracy_from: Annotated[
        Path | None,
        typer.Option(
            "--accuracy-from",
            metavar="RUN",
            help="Say the time to an accuracy too: a run of the same training says how many steps it takes.",
        ),
    ] = None,
    target: Target = None,
    tries: Annotated[
        bool, typer.Option("--try", help="Run the best three for a few steps on the nodes, and say how far off it was.")
    ] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of an epoch of --try.")] = 10,
    results: Results = DEFAULT_RESULTS,
    ask_become_pass: AskBecomePass = False,
    as_json: AsJson = False,
) -> None:
    """Say which way to train a model together is quickest on some nodes, before anything runs.

    It ranks the strategies that the program declares by the expected seconds of an epoch, with bytes and memory. With --try it
    then runs the best of them.
    """
    found = find_program(program, Path.cwd())
    subject, values = _values(found, (model, dataset), batch_size, settings)
    cluster = find_cluster(inventory, ask_become_pass) if inventory or tries else None
    # The libraries that fit take a second to load; most verbs need none of them.
    from harness.advise.answer import advise as advice_of  # noqa: PLC0415
    from harness.advise.machines import Given  # noqa: PLC0415
    from harness.advise.question import Question  # noqa: PLC0415
    from harness.advise.terminal import advice_json, print_advice, print_tried  # noqa: PLC0415
    from harness.advise.trying import try_best  # noqa: PLC0415

    given = Given(nodes, link, profile, memory, rates)
    places = {place for role in found.roles.values() for place in role.on.split("|")}
    if cluster:
        given = replace(
            given,
            inventory=cluster.inventory,
            hosts=cluster.nodes,
            shares_medium=cluster.shares_medium,
            has_centre=any(f"group:{group}" in places for host in cluster.others for group in host.groups),
        )
    question = Question(found, subject, values, given, run, rate_of(measured_link), accuracy_from, target)
    advice = advice_of(question)
    if not as_json:
        print_advice(advice, tries=tries)
    tried = (
        try_best(question, advice, cluster, steps, results, DEFAULT_TELEMETRY_SECONDS) if cluster and tries else None
    )
    if as_json:
        sys.stdout.write(json.dumps(advice_json(question, advice, tried), indent=2, allow_nan=False) + "\n")
    elif tried:
        print_tried(advice, tried)
    if tried and tried.failed:
        raise typer.Exit(EXIT_TRIALS_FAILED)


def _values(
    program: Program, words: tuple[str, str], batch: int | None, settings: list[str] | None
) -> tuple[dict[str, Value], dict[str, Value]]:
    """The parameters that say what is trained, and all that are given."""
    from harness.advise.strategies import checked_subject  # noqa: PLC0415

    if len(program.subject) != len(words):
        raise BadInputError(
            f"{program.name} is not told by a model and a data set: its subject is {', '.join(program.subject) or 'nothing'}",
            "name two parameters as `subject` in its description",
        )
    subject = checked_subject(program, words)
    sized = {program.batch: batch} if program.batch and batch else {}
    declared = validate(
        {"name": "advice", "program": program.name, "parameters": {**subject, **sized}}, "advise", directory=Path.cwd()
    )
    return subject, _single(with_overrides(declared, settings=settings or ()))


def _single(declared: Experiment) -> dict[str, Value]:
    if several := list(declared.axes.parameters):
        raise BadInputError(f"--set {several[0]}: advice is for one value of it", "give one value")
    return dict(declared.parameters)
