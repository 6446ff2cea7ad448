"""What a run says of computing, messages and links: the fitted cost model of its series with the most cluster sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.advise.costs import STATED_REQUEST_SECONDS, Costs
from harness.analysis.analysis import analyse_run
from harness.analysis.load import load_run
from harness.errors import BadInputError
from harness.experiment.parameter import Value
from harness.predict.answer import enough_sizes, own_link
from harness.predict.fit import Fit, fit_points
from harness.predict.forecast import show_rate
from harness.predict.measurements import measured_series
from harness.results.opening import open_run


@dataclass(frozen=True)
class Fitted:
    """A run's costs. `image_seconds` and `step_seconds` are of computing, None where the run trained something else."""

    costs: Costs
    words: str
    image_seconds: float | None = None
    step_seconds: float | None = None


def fitted_costs(run: Path, subject: Mapping[str, Value], measured_link: float | None) -> Fitted:
    """Fit the model of `harness predict` to a run; `subject` has, by parameter, what advice is for.

    Raises BadInputError where no series has two cluster sizes, or the link that the run was measured on is not known.
    """
    paths = open_run(run)
    data = load_run(paths)
    analysis = analyse_run(data)
    link = own_link(analysis, measured_link)
    if link is None and analysis.facts.shares_medium:
        raise BadInputError(
            f"the nodes of {paths.root} shared one medium, from which nothing follows for links of their own",
            "leave --run out, or name a run on cables",
        )
    if link is None:
        raise BadInputError(
            f"{paths.root} does not say on which link it was measured",
            "name it with --measured-link 100mbit, or leave --run out",
        )
    series, _ = enough_sizes(measured_series(analysis, data.trials, data.epochs), paths)
    chosen = max(series, key=lambda each: (not each.control, len(each.sizes)))
    fit = fit_points(chosen.points, link)
    settings = analysis.facts.settings
    same = all(settings.get(name) == str(value) for name, value in subject.items())
    image, step = (float(cost) for cost in fit.costs[:2]) if same else (None, None)
    words = f"fitted to {chosen.label} of {analysis.facts.experiment}, {len(chosen.sizes)} cluster sizes at {show_rate(link)}"
    return Fitted(_costs(fit), words, image, step)


def _costs(fit: Fit) -> Costs:
    _, _, group, peer, exposed, hidden = fit.solved.costs
    return Costs(group, peer, exposed, hidden, fit.solved.weights, request_seconds=STATED_REQUEST_SECONDS)
