"""From an experiment to what its run needs: trials, where they go, and whether an earlier run is the same. Asks no node."""

from __future__ import annotations

from dataclasses import dataclass

from harness.check.memory import placed_within_memory
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment
from harness.experiment.plan import Trial, expand
from harness.experiment.rates import Rates
from harness.launch.code import ProgramCode
from harness.launch.placement import Placement
from harness.nodes.inventory import Cluster, Node
from harness.results.earlier_run import EarlierRun, differences
from harness.sweep.options import RunOptions


@dataclass(frozen=True)
class Prepared:
    """A run that could start, as far as can be told without a look at the nodes."""

    experiment: Experiment
    cluster: Cluster
    options: RunOptions
    code: ProgramCode
    trials: tuple[Trial, ...]
    """All of them, in the order in which they run."""
    placements: tuple[Placement, ...]
    """Each placed once, to see that it can be."""
    nodes: tuple[Node, ...]
    """Those that the trials are placed on."""
    spare: tuple[Node, ...]
    """Those that may stand in for ones that fail too often; none without retries."""
    rates: Rates | None = None
    """What trials with batches by rate share them by."""
    earlier: EarlierRun | None = None
    """The run of the same experiment of which only what is missing is to run."""


def prepare(
    experiment: Experiment,
    cluster: Cluster,
    options: RunOptions,
    code: ProgramCode,
    *,
    rates: Rates | None = None,
    earlier: EarlierRun | None = None,
) -> Prepared:
    """Expand an experiment, place its trials, and compare it with the run to resume; `code` is what the nodes will be sent.

    Raises BadInputError where the cluster's size, its nodes' memory, the rates or the earlier run do not fit.
    """
    trials = tuple(expand(experiment))
    used = dict.fromkeys(cluster.first(max(trial.nodes for trial in trials)))
    placements = placed_within_memory(trials, cluster, code.sent, rates)
    for placement in placements:
        used |= dict.fromkeys(placement.nodes)
    nodes = tuple(used)
    spare = tuple(node for node in cluster.nodes if node not in used) if options.policy.retries else ()
    if rates:
        rates.of([node for node in (*nodes, *spare) if node in cluster.nodes])
    if earlier and (changed := differences(earlier, experiment, code.digest, rates, cluster.time_dilation)):
        raise BadInputError(
            f"{earlier.paths.root} ran another experiment; changed: {'; '.join(changed)}",
            "give the same file, options and programs as then, or start a new run",
        )
    return Prepared(experiment, cluster, options, code, trials, placements, nodes, spare, rates, earlier)
