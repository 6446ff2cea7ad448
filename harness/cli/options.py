"""The options of the verbs, each spelled once. Only names, bounds and help: this module imports nothing heavy.

`-i` is always the inventory, `-n` how many nodes, `-o` where results go, `-q` quiet.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import BadInputError
from harness.paths import EXPERIMENTS

DEFAULT_EXPERIMENT = EXPERIMENTS / "scaling.yaml"
DEFAULT_RESULTS = Path("results")
MOST_NODES = 4096
DEFAULT_TELEMETRY_SECONDS = 5.0
DEFAULT_IDLE_SECONDS = 15.0
DEFAULT_POWER_SECONDS = 2.0


def finite(value: float | None) -> float | None:
    """A number as given; typer.BadParameter for nan and inf, which no bound refuses."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("give a finite number")
    return value


def bounded(text: str | None) -> str | None:
    """Cluster sizes as given. Raises BadInputError for more than MOST_NODES nodes, before anybody counts up to them."""
    if any(int(number) > MOST_NODES for number in re.findall(r"\d+", text or "")):
        raise BadInputError(f"--nodes {text}: more than {MOST_NODES} nodes", "ask for fewer")
    return text


def per_cent(text: str) -> float:
    """The share that an accuracy in per cent is: `97` and `97%` are 0.97.

    Raises typer.BadParameter for what is not between 1 and 100: a share such as 0.97 is refused, not guessed at.
    """
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if 0 < value < 1:
        raise typer.BadParameter(f"accuracies are in per cent, and {text} % is hardly meant: write {100 * value:.6g}")
    if not 1 <= value <= 100:
        raise typer.BadParameter(f"{text} is not an accuracy in per cent: write a number from 1 to 100, such as 97")
    return value / 100


# --- what is run, and on what ---

Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        help="Ansible inventory: a path, the name of a virtual cluster that is up, or local or pi.example.",
        envvar="HARNESS_INVENTORY",
        show_default="the virtual cluster that is up, else local",
    ),
]
AskBecomePass = Annotated[
    bool,
    typer.Option(
        "--ask-become-pass",
        "-K",
        help="Ask for the password of sudo on the nodes, for those that the inventory has none for.",
    ),
]
ExperimentName = Annotated[
    Path,
    typer.Argument(
        help="An experiment: a YAML file, or the name of one here or of one that comes with the harness.",
        metavar="EXPERIMENT",
        show_default="scaling",
    ),
]
Sizes = Annotated[
    str | None,
    typer.Option(
        "--nodes",
        "-n",
        metavar="N[,N...]",
        callback=bounded,
        help="How many nodes, each number a cluster size: 4, 1-4 or 1,2,4.",
        show_default="the experiment's, as far as there are nodes",
    ),
]
FirstNodes = Annotated[
    int | None,
    typer.Option(
        "--nodes",
        "-n",
        metavar="N",
        min=1,
        max=MOST_NODES,
        help="How many nodes: the first N of the inventory.",
        show_default="all",
    ),
]
Repeats = Annotated[
    int | None,
    typer.Option("--repeats", "-r", min=1, help="How often to run every point.", show_default="the experiment's"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE[,VALUE...]", help="Set a parameter; several values sweep it."),
]
Environment = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[=VALUE]",
        help="Set an environment variable of every rank; NAME alone takes the value that it has here.",
    ),
]
Variants = Annotated[
    list[str] | None, typer.Option("--variant", help="Only this variant of the experiment (repeatable).")
]
RatesFile = Annotated[
    Path | None,
    typer.Option(
        "--batches-by-rate",
        metavar="RATES",
        help="Share each global batch by the nodes' speed: a run of `benchmark`, or its rates.csv.",
        show_default="evenly",
    ),
]

# --- how it is run ---

Results = Annotated[Path, typer.Option("--results", "-o", help="Where run directories go.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the trials, as `plan` does, and run nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings, failures and the result.")]
TimeLimit = Annotated[
    float | None,
    typer.Option(min=1, callback=finite, metavar="SECONDS", help="How long a trial may take.", show_default="no limit"),
]
StartTimeout = Annotated[
    float, typer.Option(min=1, callback=finite, metavar="SECONDS", help="Until every worker must be ready.")
]
StallTimeout = Annotated[
    float | None,
    typer.Option(
        min=1,
        callback=finite,
        metavar="SECONDS",
        help="How long a rank may print nothing.",
        show_default="120 where the program prints events, else 1800",
    ),
]
NoStallTimeout = Annotated[
    bool, typer.Option("--no-stall-timeout", help="Let ranks print nothing for as long as they like.")
]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Have the program serve its dashboard, and print how to reach it.")
]
Telemetry = Annotated[
    float,
    typer.Option(min=0, callback=finite, metavar="SECONDS", help="Between samples of a node's health; 0 for none."),
]

MeasuredLink = Annotated[
    str | None,
    typer.Option(
        "--measured-link", help="Rate of the link that the run was measured on.", show_default="the manifest's"
    ),
]

# --- energy ---

PowerMeters = Annotated[
    list[str] | None,
    typer.Option(
        "--power-meter",
        metavar="NAME=ADDRESS",
        help="A meter of what is no node, such as switch=shelly2://10.0.0.7/0, or of a node (repeatable).",
        show_default="the inventory's",
    ),
]
IdleSeconds = Annotated[
    float,
    typer.Option(
        "--idle-seconds",
        min=0,
        max=3600,
        callback=finite,
        metavar="SECONDS",
        help="How long power meters are asked what is drawn idle, before the first trial; 0: not at all.",
    ),
]
PowerSeconds = Annotated[
    float,
    typer.Option(
        "--power-seconds",
        min=0.1,
        max=3600,
        callback=finite,
        metavar="SECONDS",
        help="Between samples of a power meter.",
    ),
]
KwhPrice = Annotated[
    float | None,
    typer.Option(
        "--kwh-price",
        min=0,
        callback=finite,
        metavar="EUROS",
        help="What a kWh costs, where energy is known.",
        show_default="no costs",
    ),
]

# --- the page of a run that goes on ---

LivePort = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65535, metavar="PORT", help="The live page's port on 127.0.0.1.", show_default="a free one"
    ),
]
OpenBrowser = Annotated[bool, typer.Option("--open", help="Open the live page in a browser here.")]

# --- what is printed ---

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunDirectory = Annotated[
    Path, typer.Argument(help="A run directory, or an experiment's directory of runs.", metavar="RUN")
]
Target = Annotated[
    float | None,
    typer.Option(
        parser=per_cent,
        metavar="PER_CENT",
        help="Validation accuracy that time is measured to, such as 97.",
        show_default="97, or what all reached",
    ),
]
