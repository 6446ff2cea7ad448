"""What a run directory keeps of an experiment: all but secrets. Pure."""

from __future__ import annotations

from harness.experiment.declaration import Experiment
from harness.experiment.secrets import HIDDEN, kept, kept_words

__all__ = ["HIDDEN", "kept", "kept_experiment", "kept_words"]


def kept_experiment(experiment: Experiment) -> Experiment:
    """The experiment without the values of secrets, its variants' too. Parameters have none: they are refused."""
    variants = {
        label: variant.model_copy(update={"environment": kept(variant.environment)})
        for label, variant in experiment.variants.items()
    }
    return experiment.model_copy(update={"environment": kept(experiment.environment), "variants": variants})
