"""Every column of a run directory's CSVs: its unit, how it is formed of all workers' values, and what it means. Pure.

The headers of the files, what `harness.results.rows` computes, the report's headings and docs/reference/columns.md are all made
from COLUMNS. A new value of `epoch` events is a key of `wire.EPOCH_KEYS` and a line of _MEASURED here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.contract import wire

Aggregation = Literal["none", "sum", "mean", "slowest", "last", "best"]
"""How trials.csv forms one value of all workers' values in epochs.csv."""

AGGREGATIONS: Mapping[Aggregation, str] = {
    "none": "not of the workers' values",
    "sum": "added up over workers and epochs",
    "mean": "each worker's sum over its epochs, mean over the workers",
    "slowest": "the slowest worker's of each epoch, added up over the epochs",
    "last": "mean over the workers, after the last epoch",
    "best": "the highest of any worker and epoch",
}


@dataclass(frozen=True)
class Column:
    """One column of a table; `heading` and `remark` are what the report writes over it.

    `source` is the column of epochs.csv that an aggregated one is formed of.
    """

    name: str
    unit: str
    meaning: str
    aggregation: Aggregation = "none"
    heading: str = ""
    remark: str = ""
    source: str = ""


DEFAULT_ACCURACIES = (0.9, 0.95, 0.97, 0.98, 0.985, 0.99)
"""Validation accuracies, fractions of 1, that time is measured to where an experiment declares none."""

_TRIAL = Column("trial", "text", "The trial's id.")
_NODES = Column("nodes", "count", "Nodes of the trial.", heading="nodes")
_REPEAT = Column("repeat", "count", "Which repeat of its point of the sweep, from 1.")
_NODE = Column("node", "text", "The node's name in the inventory.")
_TIME = Column("time", "UTC, ISO 8601", "When the controller got the values.")

_PHASE_MEANINGS = {
    "data": "Gathering the epoch's images and handing batches to the model.",
    "forward": "The model's forward pass.",
    "backward": "The model's backward pass.",
    "push": "Handing gradients or new values to the kernel or the store.",
    "wait": "Blocked on the store or on other workers.",
    "pull": "Taking what came, once it was there.",
    "update": "Adding up and applying.",
}

_MEASURED = {
    column.name: column
    for column in (
        Column("epoch", "count", "The epoch, from 1."),
        Column("steps", "count", "Steps of the worker in the epoch."),
        Column("images", "images", "Images that were trained on.", "sum"),
        Column("train_seconds", "s", "Training, without validation.", "slowest"),
        Column("validation_seconds", "s", "Validation after the epochs.", "slowest"),
        *(Column(f"{phase}_seconds", "s", _PHASE_MEANINGS[phase], "mean") for phase in wire.PHASES),
        Column("cpu_seconds", "s", "Processor time of the worker's process in the epoch, validation included."),
        Column("learning_rate", "none", "Learning rate at the end of the epoch."),
        Column("train_loss", "none", "Mean training loss of the epoch's forward passes."),
        Column(
            "train_accuracy", "fraction", "Accuracy on the training images, of the epoch's forward passes.", "last",
            "training", "at the end",
        ),
        Column("validation_loss", "none", "Mean loss on the validation images after the epoch."),
        Column(
            "validation_accuracy", "fraction", "Accuracy on the validation images after the epoch.", "last",
            "validation", "at the end",
        ),
        Column("bytes_sent", "bytes", "Sent by the node's interfaces, loopback left out.", "sum"),
        Column("bytes_received", "bytes", "Received by the node's interfaces, loopback left out.", "sum"),
        Column("packets_sent", "count", "Packets sent, counted where bytes are.", "sum"),
        Column("packets_received", "count", "Packets received, counted where bytes are.", "sum"),
        Column("context_switches", "count", "How often a thread of the worker went to sleep.", "sum"),
        Column("images_lost", "images", "Of volunteers' tasks that did not count.", "sum"),
        Column("staleness", "count", "Mean over volunteers' tasks: changes that were applied since each was given."),
        Column(
            "best_seconds", "s",
            "What the best schedule of the same independent items takes, by rates measured meanwhile; train_seconds over it is "
            "what sharing them out cost.", "slowest",
        ),
        Column("result_bytes", "bytes", "Results of independent items, as they were sent by who computed them.", "sum"),
        Column("redone", "count", "Independent items that were given to others when the worker that had them was lost.", "sum"),
    )
}  # fmt: skip

_TRIAL_HEAD = (
    _TRIAL,
    Column("status", "text", "ok, failed, or suspect: ended well, but for the reason in suspect_because."),
    _NODES,
    _REPEAT,
    Column("variant", "text", "The experiment's variant; empty where it has none."),
)
_TRIAL_COURSE = (
    Column("model_parameters", "count", "Trainable parameters of the model.", heading="parameters"),
    Column("attempts", "count", "How often the trial was begun."),
    Column("recovered", "count", "Dead workers of these attempts whose place was taken."),
    Column("continued_from_epoch", "count", "The last start began after this epoch; empty where it began anew."),
    Column("left_out", "text", "Nodes in quarantine, by name."),
    Column("suspect_because", "text", "Why the trial's numbers may be wrong; empty where nothing says so."),
    Column(
        wire.CPU_MODEL, "text",
        "How the processors of virtual nodes were slowed down: stretched, quota or none; empty on real nodes.",
    ),
    Column("started_at", "UTC, ISO 8601", "When the last start was launched."),
    Column(
        "startup_seconds", "s", "From the launch to the last worker's ready; on virtual nodes mostly at the machine's speed.",
        heading="start-up", remark="s",
    ),
    Column(
        "total_seconds", "s", "From the launch to the last worker's end.",
        heading="total time", remark="s, start-up included",
    ),
)  # fmt: skip
_TRIAL_WHOLE = (
    Column(
        "images_per_train_second", "images/s",
        "images over train_seconds: the first epoch and the waiting for the slowest worker count too.",
    ),
    Column(
        "best_validation_accuracy", "fraction", "The highest validation accuracy after any epoch.", "best",
        "validation", "best", "validation_accuracy",
    ),
)  # fmt: skip
_SECONDS_TO = Column(
    "seconds_to_<accuracy>",
    "s",
    "Training and validation up to the end of the first epoch whose validation accuracy reaches so many per cent; a column for "
    "every one of the experiment's accuracies, empty where no epoch reached it.",
)
_DIGEST = Column("weights_sha256", "text", "SHA-256 of what was trained, where all ranks that say one say the same.")
_FAILURE = Column("failure", "text", "Why the trial failed.")

_ROLE_COUNT = Column("<role>s", "count", "Ranks of the role; a column for every role of the experiment's programs.")
_ROLE_CPU = Column("<role>_cpu_seconds", "s", "Processor time of the role's ranks, added up over ranks.csv.")
_PARAMETER = Column("<parameter>", "its own", "The value of the parameter; a column for every one of the experiment.")

AGGREGATED = tuple(
    column for column in (*(_MEASURED[key] for key in wire.EPOCH_KEYS), *_TRIAL_WHOLE) if column.aggregation != "none"
)
"""The columns of trials.csv that are formed of all workers' rows of epochs.csv."""

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "trials.csv": (
        *_TRIAL_HEAD, _ROLE_COUNT, _PARAMETER, *_TRIAL_COURSE,
        *(column for column in AGGREGATED if column not in _TRIAL_WHOLE), *_TRIAL_WHOLE, _SECONDS_TO, _DIGEST,
        _ROLE_CPU, _FAILURE,
    ),
    "epochs.csv": (
        _TRIAL, _NODES, _REPEAT,
        Column("rank", "count", "The worker's number in its store, from 0; not the launch order."),
        _NODE, _TIME,
        *(replace(_MEASURED[key], aggregation="none") for key in wire.EPOCH_KEYS),
    ),
    "ranks.csv": (
        _TRIAL, _NODES, _REPEAT,
        Column("role", "text", "The rank's role."),
        Column("rank", "count", "The rank's number in its role, in launch order, from 0."),
        _NODE,
        Column("reason", "text", "exit; stopped, lease, time_limit or output_limit: it was ended; start: never began; lost."),
        Column("exit_code", "none", "Exit code; minus the signal's number where one killed the rank."),
        Column("started_seconds", "s", "Since the launch, by the controller's clock."),
        Column("ended_seconds", "s", "Since the launch, by the controller's clock."),
        Column("cpu_seconds", "s", "Processor time from start to end, imports and children included."),
        Column("max_rss_bytes", "bytes", "Memory of the rank's largest process, at most."),
        Column("context_switches", "count", "Voluntary and involuntary, children included."),
        Column(wire.CPU_MODEL, "text", "How its processor was slowed down: stretched, quota or none; empty on a real node."),
        Column(
            "cpu_seconds_behind", "s",
            "By how much what the rank computed came later than its CPU model says, because the machine was busy; empty where "
            "nothing counts it.",
        ),
        Column(
            "cpu_pressure", "fraction",
            "Share of its time in which the node's processes waited for a processor; empty where nothing counts it.",
        ),
    ),
    "telemetry.csv": (
        _TRIAL, _NODE, _TIME,
        Column("cpu_percent", "% of a core", "Processor time of the node since the last sample; empty at a rank's end."),
        Column("memory_used_bytes", "bytes", "Memory in use on the node."),
        Column("load_1m", "none", "Load average over a minute."),
        Column("temperature_celsius", "°C", "Temperature of the processor."),
        Column("throttled", "bits", "As vcgencmd prints them (the low four are now); empty where there is none."),
        Column("bytes_sent", "bytes", "Since the ranks were started or the connection was made anew."),
        Column("bytes_received", "bytes", "Since the ranks were started or the connection was made anew."),
        Column("tasks_done", "count", "Independent tasks that the node's workers have ended; empty where none says it."),
        Column("tasks_in_flight", "count", "Tasks that they have begun or that wait there."),
        Column("task_bytes_sent", "bytes", "Results and other data that they have sent, as Dask estimates their size."),
        Column("signal_dbm", "dBm", "Signal of the node's Wi-Fi; empty where it has joined none."),
        Column("bit_rate_mbit", "Mbit/s", "Bit rate at which its radio sends; empty where `iw` is not there to say it."),
    ),
    "power.csv": (
        replace(_TIME, meaning="When the meter was asked; of a CSV of one's own, its row's time; else when the sweep began."),
        Column("node", "text", "The node's name in the inventory, or a name that was given: switch, controller."),
        Column("part", "text", "node; or other: it counts whole in every trial, whichever nodes that has."),
        Column("watts", "W", "What it drew; empty where the meter was asked and did not say it."),
        Column("state", "text", "idle: before the first trial, or said of it; busy: all else."),
        Column("source", "text", "meter: measured; declared: said by the user; estimate: published of such a board."),
        Column("origin", "text", "The meter's address without user and password; where an estimate was published."),
    ),
    "rates.csv": (
        _NODE,
        Column("address", "text", "The node's IP address."),
        Column("images_per_second", "images/s", "The node's rate by itself at the nominal batch."),
        Column("image_milliseconds", "ms", "What an image adds to a step."),
        Column("fixed_milliseconds", "ms", "What a step takes whatever its images."),
        Column("share", "fraction", "The node's images of a global batch of the nominal batch a node."),
    ),
    "comparison.csv": (
        Column("run", "text", "The run's experiment, and its directory where runs are of one experiment."),
        Column("series", "text", "What tells curves of a run apart; empty where each run has one."),
        _NODES,
        Column("metric", "text", "A number of the report, in its unit."),
        Column("trials", "count", "Repeats that were measured."),
        Column("value", "its own", "The median over the repeats."),
        Column("low", "its own", "Lower end of its 95% interval."),
        Column("high", "its own", "Upper end of its 95% interval."),
        Column("ratio", "none", "The median over that of the first run."),
        Column("ratio_low", "none", "Lower end of the ratio's 95% interval."),
        Column("ratio_high", "none", "Upper end of the ratio's 95% interval."),
    ),
}  # fmt: skip
"""By file, in the order of its columns; `<role>`, `<parameter>` and `<accuracy>` stand for the experiment's own."""


def _names(file: str) -> tuple[str, ...]:
    return tuple(column.name for column in COLUMNS[file])


EPOCH_COLUMNS = _names("epochs.csv")
RANK_COLUMNS = _names("ranks.csv")
TELEMETRY_COLUMNS = _names("telemetry.csv")
COMPARISON_COLUMNS = _names("comparison.csv")
RATE_COLUMNS = _names("rates.csv")
POWER_COLUMNS = _names("power.csv")


def trial_columns(
    parameters: Iterable[str], roles: Iterable[str], accuracies: Iterable[float] = DEFAULT_ACCURACIES
) -> tuple[str, ...]:
    """The header of trials.csv for an experiment with these parameters, programs with these roles, and these accuracies.

    A parameter that has the name of a role's count (`servers`) has no column of its own.
    """
    named = tuple(dict.fromkeys(roles))
    counts = tuple(map(count_column, named))
    expanded = {
        _ROLE_COUNT.name: counts,
        _ROLE_CPU.name: tuple(map(cpu_column, named)),
        _PARAMETER.name: tuple(name for name in parameters if name not in counts),
        _SECONDS_TO.name: tuple(map(seconds_to_column, accuracies)),
    }
    return tuple(name for column in _names("trials.csv") for name in expanded.get(column, (column,)))


def count_column(role: str) -> str:
    """The column of trials.csv with a role's number of ranks."""
    return _ROLE_COUNT.name.replace("<role>", role)


def cpu_column(role: str) -> str:
    """The column of trials.csv with a role's processor time."""
    return _ROLE_CPU.name.replace("<role>", role)


def seconds_to_column(accuracy: float) -> str:
    """The column of trials.csv with the time to an accuracy, a fraction of 1: `seconds_to_98.5`."""
    return _SECONDS_TO.name.replace("<accuracy>", f"{100 * accuracy:.6g}")


def roles_in(header: Iterable[str]) -> tuple[str, ...]:
    """The roles that a header of trials.csv has columns for, in its order."""
    names = list(header)
    suffix = cpu_column("")
    found = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return tuple(role for role in found if count_column(role) in names)


def column(file: str, name: str) -> Column:
    """One column of a file. Raises KeyError where it has none of this name."""
    return {each.name: each for each in COLUMNS[file]}[name]
