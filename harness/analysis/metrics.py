"""The numbers that the report has of a trial beside those of trials.csv: name, unit, heading, meaning. Pure."""

from __future__ import annotations

from harness.contract.columns import Column, column

_OF_TRIALS = (
    "total_seconds", "startup_seconds", "train_accuracy", "validation_accuracy", "best_validation_accuracy",
    "model_parameters",
)  # fmt: skip

_DERIVED = (
    Column("epochs", "count", "Epochs that the trial reported.", heading="epochs"),
    Column(
        "epoch_seconds", "s", "Training and validation of an epoch's slowest worker, mean over the epochs.",
        heading="time per epoch", remark="s",
    ),
    Column("epoch_images", "images", "Images of an epoch, all workers."),
    Column("train_epoch_seconds", "s", "Training of an epoch's slowest worker, mean over the epochs."),
    Column(
        "compute_epoch_seconds", "s", "train_epoch_seconds without the mean worker's waiting.", heading="compute",
        remark="s per epoch",
    ),
    Column(
        "wait_epoch_seconds", "s", "The mean worker's time blocked on the store in an epoch.", heading="waiting",
        remark="s per epoch",
    ),
    Column("validation_epoch_seconds", "s", "Validation of the slowest worker after an epoch."),
    Column(
        "wait_share", "fraction", "wait_epoch_seconds over epoch_seconds.",
        heading="waiting", remark="share of an epoch",
    ),
    Column(
        "validation_share", "fraction", "validation_epoch_seconds over epoch_seconds.",
        heading="validation", remark="share of an epoch",
    ),
    Column("startup_share", "fraction", "startup_seconds over total_seconds."),
    Column("step_seconds", "s", "Training time of the slowest worker over its steps, all epochs.", heading="step"),
    Column(
        "wait_step_seconds", "s", "The mean worker's time blocked on the store in a step.",
        heading="waiting", remark="per step",
    ),
    Column("compute_step_seconds", "s", "step_seconds without wait_step_seconds."),
    Column("steps_per_epoch", "count", "Steps of an epoch.", heading="updates", remark="per epoch"),
    Column("global_batch", "images", "Images of a step, all workers together.", heading="global batch", remark="images"),
    Column("worker_batch", "images", "Images of a step, the mean worker's."),
    Column(
        "images_per_second", "images/s",
        "The workers' own training rates added up, over the epochs after the first in which all of them trained.",
        heading="images/s", remark="while training, first epoch left out",
    ),
    Column("images_per_second_per_node", "images/s", "images_per_second over the nodes."),
    Column(
        "independent_images_per_second", "images/s",
        "What the same nodes do independently: images_per_second of the control of the same repeat, or else the nodes' "
        "measured rates added up.",
    ),
    Column(
        "bytes_per_worker_step", "bytes", "Sent and received in a step, the mean worker's node.",
        heading="bytes", remark="per step and worker",
    ),
    Column("bytes_per_image", "bytes", "Sent and received by all over the images.", heading="bytes", remark="per image"),
    Column(
        "target_seconds", "s", "Training and validation up to the first epoch with the target accuracy.",
        heading="time to target", remark="s",
    ),
    Column(
        "target_epochs", "count", "The first epoch with the target accuracy.", heading="epochs to target",
    ),
    Column(
        "speedup", "none", "epoch_seconds (or total_seconds, where no epochs were reported) at the series' smallest size over "
        "that of the trial; where the sizes' epochs are not of the same images, its images_per_second over that at the "
        "smallest size.", heading="speed-up",
    ),
    Column(
        "efficiency", "fraction", "images_per_second over independent_images_per_second; in a run in which nothing says what "
        "the nodes do independently, the speed-up over the growth in nodes.", heading="efficiency",
    ),
    Column(
        "total_speedup", "none", "total_seconds at the series' smallest size over that of the trial.",
        heading="speed-up", remark="of the total time",
    ),
)  # fmt: skip

_ENERGY = (
    Column("watts", "W", "What is drawn while training: energy over time.", heading="power", remark="W, while training"),
    Column(
        "epoch_joules", "J", "Energy of an epoch, training and validation, mean over the epochs: of the trial's nodes, and of "
        "switch and controller where they have a meter.", heading="energy", remark="J per epoch",
    ),
    Column(
        "epoch_joules_above_idle", "J", "epoch_joules without what would have been drawn idle.",
        heading="above idle", remark="J per epoch",
    ),
    Column("images_per_joule", "images/J", "images over the energy of all epochs.", heading="images", remark="per J"),
    Column(
        "total_joules", "J", "Energy from the launch to the last worker's end; not known of a trial that went on from a "
        "checkpoint.",
        heading="energy", remark="J, start-up included",
    ),
)  # fmt: skip

ENERGY = tuple(each.name for each in _ENERGY)
"""Those that are formed of power.csv."""

METRICS = {each.name: each for each in (*(column("trials.csv", name) for name in _OF_TRIALS), *_DERIVED, *_ENERGY)}
"""By name. `Analysis.trials` and `Analysis.points` have a column of float64 for each."""

AS_MEASURED = _OF_TRIALS
"""Those that are taken from trials.csv as they are."""
