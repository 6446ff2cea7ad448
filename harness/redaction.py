"""What a run directory keeps of environment variables: names always, values unless the name says that it is a secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.experiment import Experiment

HIDDEN = "(not kept)"

_SECRET = "(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|KEY|CREDENTIAL)"  # noqa: S105 - what names of secrets have in them
_NAME = re.compile(_SECRET, re.IGNORECASE)
_SETTING = re.compile(rf"((?:--env=|-\w*)?\w*{_SECRET}\w*=).*", re.IGNORECASE | re.DOTALL)


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the values of secrets; a value may be what was measured, so all others stay."""
    return {name: HIDDEN if _NAME.search(name) else value for name, value in environment.items()}


def kept_experiment(experiment: Experiment) -> Experiment:
    """The experiment without the values of secrets, its variants' too."""
    variants = {
        label: variant.model_copy(update={"environment": kept(variant.environment)})
        for label, variant in experiment.variants.items()
    }
    return experiment.model_copy(update={"environment": kept(experiment.environment), "variants": variants})


def kept_words(command: Iterable[str]) -> list[str]:
    """A command line's words without the values of secrets that are set there: `--env API_TOKEN=...`."""
    return [f"{setting[1]}{HIDDEN}" if (setting := _SETTING.fullmatch(word)) else word for word in command]
