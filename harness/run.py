"""One run of an experiment: look at the nodes, hold them, run what is missing, let them go."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.agent import Code
from harness.console import err
from harness.disk import write_json
from harness.errors import BadInputError
from harness.experiment import Experiment
from harness.hold import Hold
from harness.inventory import Cluster
from harness.launcher import Launcher, Limits
from harness.manifest import experiment_digest, make_manifest
from harness.paths import EXPERIMENTS
from harness.placement import place_trial
from harness.plan import expand, largest, remaining
from harness.preflight import fit_nodes, probe_nodes, require, warnings_of
from harness.progress import Progress
from harness.rates import Rates
from harness.redaction import kept_experiment
from harness.store import RunPaths, RunStore, new_run, open_run, run_name
from harness.sweep import Policy, Sweep, check_programs
from harness.transport import Session


@dataclass(frozen=True)
class Conduct:
    """How a run goes about it: what it may take, what it does about failures, what it shows."""

    limits: Limits
    policy: Policy
    telemetry_seconds: float
    quiet: bool


def run_experiment(
    declared: Experiment,
    cluster: Cluster,
    results: Path,
    conduct: Conduct,
    *,
    resume: Path | None = None,
    rates: Rates | None = None,
) -> tuple[RunPaths, Counter[str]]:
    """Run every trial, or those that `resume`'s run has not; where it all lies, and how many trials ended how.

    `rates` are what trials with batches by rate share them by. Raises BadInputError, and nothing was started, where the
    nodes, the programs, the rates or the run to resume are not fit for it.
    """
    trials = expand(declared)
    check_programs(sorted(declared.programs()), EXPERIMENTS)
    code = Code.of(EXPERIMENTS)
    used = cluster.first(largest(trials))
    may_be_used = cluster.nodes if conduct.policy.retries else used
    for trial in trials:
        place_trial(trial, cluster.first(trial.nodes), cluster.port, code.hash, "", rates)
    if rates:
        rates.of(may_be_used)
    moment = datetime.now(UTC)
    paths = resumed(resume, declared, code, rates, cluster.time_dilation) if resume else None
    run = paths.root.name if paths else run_name(moment)
    with Session(cluster) as session, ExitStack() as stack:
        preflight = probe_nodes(session, used, code)
        require(preflight, trials, cluster, run=run)
        for finding in warnings_of(preflight):
            err.print(f"warning: {finding.node}: {finding.detail}", style="yellow", markup=False, soft_wrap=True)
        # Nodes that may stand in for ones in quarantine.
        spare = [node for node in may_be_used if node not in used]
        fit = fit_nodes(probe_nodes(session, spare, code), trials, cluster) if spare else []
        unfit = frozenset(node.name for node in spare if node not in fit)
        stack.enter_context(Hold(session, [*used, *fit], code.hash, run))
        if paths is None:
            paths = new_run(results, declared.name, run)
            write_json(paths.manifest, make_manifest(declared, trials, cluster, preflight, code.hash, moment, rates))
        store = RunStore(paths, list(declared.parameters))
        try:
            done = {trial for trial, status in store.finished().items() if status != "failed"}
            todo = remaining(trials, done)
            err.print(
                f"{declared.name}: {len(todo)} trials on {cluster.inventory} -> {paths.root}"
                + (f" ({len(done)} done before)" if done else "")
            )
            with Progress(err, todo, conduct.quiet) as progress:
                launcher = Launcher(session, code.hash, paths.root.name, conduct.limits, conduct.telemetry_seconds)
                sweep = Sweep(cluster, launcher, store, progress, code, conduct.policy, unfit, rates)
                return paths, sweep.run(todo)
        finally:
            store.close()


def resumed(run: Path, declared: Experiment, code: Code, rates: Rates | None, dilation: float) -> RunPaths:
    """An earlier run of the same experiment; raises BadInputError that says what changed."""
    paths = open_run(run)
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    changed = []
    if manifest["experiment_sha256"] != experiment_digest(declared):
        before, now = manifest["experiment"], json.loads(kept_experiment(declared).model_dump_json())
        changed += [f"{key}: {before.get(key)} -> {now[key]}" for key in now if now[key] != before.get(key)]
    if manifest["code_sha256"] != code.hash:
        changed.append(f"the programs in {EXPERIMENTS.name}/: {manifest['code_sha256']} -> {code.hash}")
    if manifest.get("rates") != (rates.as_json() if rates else None):
        changed.append("the nodes' rates")
    then = manifest["cluster"].get("time_dilation", 1)
    if then != dilation:
        changed.append(f"the cluster's time dilation: {then:g} -> {dilation:g}")
    if changed:
        raise BadInputError(
            f"{paths.root} ran another experiment; changed: {'; '.join(changed)}",
            "give the same file, options and programs as then, or start a new run",
        )
    return paths
