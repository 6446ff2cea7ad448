"""The verb `plan`."""

from __future__ import annotations

from harness.cli.group import verb_app
from harness.cli.inputs import declared_experiment, find_cluster, sizes_that_fit
from harness.cli.options import (
    DEFAULT_EXPERIMENT,
    AsJson,
    Environment,
    ExperimentName,
    Inventory,
    RatesFile,
    Repeats,
    Settings,
    Sizes,
    Variants,
)
from harness.cli.running.plan_table import print_plan
from harness.cli.running.rates import with_rates

app = verb_app()


@app.command()
def plan(
    experiment: ExperimentName = DEFAULT_EXPERIMENT,
    inventory: Inventory = None,
    nodes: Sizes = None,
    repeats: Repeats = None,
    settings: Settings = None,
    environment: Environment = None,
    variant: Variants = None,
    batches_by_rate: RatesFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the trials and where each rank goes; nothing is run, no node is contacted."""
    declared = declared_experiment(experiment, nodes, repeats, settings, environment, variant)
    cluster = find_cluster(inventory)
    declared, rates = with_rates(batches_by_rate, sizes_that_fit(declared, cluster, nodes))
    print_plan(declared, cluster, rates, as_json=as_json)
