"""Answer which way is quickest: ask the program, and rank what it says."""

from __future__ import annotations

from harness.advise.centre import with_centre
from harness.advise.costs import STATED, stated_costs
from harness.advise.curves import known_curves
from harness.advise.fitted import Fitted, fitted_costs
from harness.advise.machines import Machines, assumed_from, assumed_rates, machines, measured_rates
from harness.advise.question import Advice, Question
from harness.advise.ranking import ranked
from harness.advise.strategies import Asked, ask
from harness.errors import BadInputError
from harness.experiment.rates import Rate
from harness.virtual.cpu.profile import MEASURED_MODEL


def advise(question: Question) -> Advice:
    """Rank the program's strategies on these nodes. Raises BadInputError for what cannot be."""
    program, nodes = question.program, machines(question.given)
    batch = program.effective(question.values).get(program.batch or "")
    if not isinstance(batch, int):
        raise BadInputError(f"{program.name} has no batch, by which a step is timed", "name it under `batch`")
    fitted = fitted_costs(question.run, question.subject, question.measured_link) if question.run else None
    asked = ask(program, question.values, nodes, {program.subject[0]: MEASURED_MODEL})
    if nodes.link.shared and question.given.has_centre is not False:
        asked = with_centre(asked, certain=bool(question.given.has_centre))
    rates, computing = _rates(question, nodes, fitted, asked)
    costs = fitted.costs if fitted else stated_costs()
    options = ranked(asked, rates, batch, nodes.link, costs)
    run = question.accuracy_from
    return Advice(
        options,
        nodes,
        batch,
        {"computing": computing, **nodes.sources, "other costs": fitted.words if fitted else STATED},
        asked.left_out,
        tuple(rates),
        costs,
        known_curves(program, question.values, options, run, question.target) if run else None,
    )


def _rates(question: Question, nodes: Machines, fitted: Fitted | None, asked: Asked) -> tuple[list[Rate], str]:
    """How fast each node computes, and where that comes from: what was measured, else what was fitted, else assumed."""
    given = question.given
    if given.rates:
        subject = {name: str(value) for name, value in question.subject.items()}
        return measured_rates(given, nodes.names, subject), f"measured: {given.rates}"
    if fitted and fitted.image_seconds is not None and not given.profile:
        step, image = fitted.step_seconds or 0.0, fitted.image_seconds
        return [Rate(name, "", step, image) for name in nodes.names], fitted.words
    operations = asked.alone.estimate.operations or 0.0
    if not asked.measured_operations:
        raise BadInputError(
            f"{question.program.name} does not say the operations of {MEASURED_MODEL}, which profiles are made for",
            "give the nodes' measured --rates",
        )
    return assumed_rates(nodes, operations, asked.measured_operations), assumed_from(nodes, operations)
