"""All mutations."""

from __future__ import annotations

from tests.mutations import (
    in_clusters,
    in_energy,
    in_experiment,
    in_exports,
    in_launch,
    in_live,
    in_nodes,
    in_numbers,
    in_programs,
    in_results,
)

MUTATIONS = [
    *in_results.MUTATIONS,
    *in_experiment.MUTATIONS,
    *in_launch.MUTATIONS,
    *in_live.MUTATIONS,
    *in_nodes.MUTATIONS,
    *in_clusters.MUTATIONS,
    *in_numbers.MUTATIONS,
    *in_energy.MUTATIONS,
    *in_exports.MUTATIONS,
    *in_programs.MUTATIONS,
]
