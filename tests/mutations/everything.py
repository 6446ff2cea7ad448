"""All mutations."""

from __future__ import annotations

from tests.mutations import in_experiment, in_launch, in_live, in_nodes, in_numbers, in_results

MUTATIONS = [
    *in_results.MUTATIONS,
    *in_experiment.MUTATIONS,
    *in_launch.MUTATIONS,
    *in_live.MUTATIONS,
    *in_nodes.MUTATIONS,
    *in_numbers.MUTATIONS,
]
