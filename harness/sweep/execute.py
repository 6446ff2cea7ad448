"""Holds the nodes for one run, runs the trials that are missing, and writes what comes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.console import err
from harness.energy.metering import Metering
from harness.energy.sampling import Sampling
from harness.launch.hold import Hold
from harness.launch.launcher import Launcher
from harness.nodes.agent import send_everywhere
from harness.nodes.session import Session
from harness.results.manifest import make_manifest
from harness.results.opening import run_paths
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths
from harness.sweep.admit import Admitted
from harness.sweep.progress import Progress
from harness.sweep.run_trials import Sweep


@dataclass(frozen=True)
class Executed:
    """A run that is over: where it lies, and how many of the trials that ran ended with which status."""

    paths: RunPaths
    statuses: Counter[str]


def execute(
    session: Session, admitted: Admitted, results: Path, opened: Callable[[RunPaths], None] | None = None
) -> Executed:
    """Run every trial, or those that the run to resume has not; a new run's directory is made below `results`.

    `opened` is told where the run lies, once it is there and before its first trial.

    Raises BadInputError where a node is another harness's or the run cannot be written, and ResultsError where it cannot be
    written any more.
    """
    prepared, moment = admitted.prepared, datetime.now(UTC)
    experiment, earlier = prepared.experiment, prepared.earlier
    paths = earlier.paths if earlier else run_paths(results, experiment.name, moment)
    with Hold(session, admitted.nodes, prepared.code.agent.hash, paths.root.name) as hold:
        for own in prepared.code.own:
            send_everywhere(session, admitted.nodes, own)
        columns = experiment.recorded_parameters(), experiment.role_names(), experiment.accuracies
        directory = (
            RunDirectory(paths, *columns) if earlier else RunDirectory.new(paths, _manifest(admitted, moment), *columns)
        )
        with directory:
            if opened is not None:
                opened(paths)
            return Executed(paths, _run_missing(session, admitted, directory, hold))


def _run_missing(session: Session, admitted: Admitted, directory: RunDirectory, hold: Hold) -> Counter[str]:
    prepared, options = admitted.prepared, admitted.prepared.options
    done = {trial for trial, status in directory.finished().items() if status != "failed"}
    todo = [trial for trial in prepared.trials if trial.id not in done]
    root, before = directory.paths.root, f" ({len(done)} done before)" if done else ""
    heading = f"{prepared.experiment.name}: {len(todo)} trials on {prepared.cluster.inventory} -> {root}{before}"
    warnings = (*admitted.warnings, *directory.repaired)
    metering = options.metering.of_nodes({node.name for node in admitted.nodes}) if todo else Metering()
    with (
        Progress(err, todo, options.quiet, warnings, heading, prepared.cluster) as progress,
        _power(metering, directory, progress) as power,
    ):
        if metering.waits_for_idle:
            progress.note(f"asking the power meters for {metering.idle_seconds:g} s what is drawn idle")
            power.measure_idle()
        launcher = Launcher(
            session, prepared.code.agent.hash, root.name, options.limits, options.telemetry_seconds, hold.check
        )
        return Sweep(
            admitted.cluster,
            launcher,
            directory,
            progress,
            prepared.code.sent,
            options.policy,
            admitted.unfit,
            prepared.rates,
        ).run(todo)


def _power(metering: Metering, directory: RunDirectory, progress: Progress) -> Sampling:
    return Sampling(metering, directory.paths.power, progress.warning)


def _manifest(admitted: Admitted, moment: datetime) -> dict[str, Any]:
    prepared = admitted.prepared
    return make_manifest(
        prepared.experiment, prepared.trials, prepared.cluster, admitted.preflight, prepared.code.digest, moment,
        prepared.rates,
    )  # fmt: skip
