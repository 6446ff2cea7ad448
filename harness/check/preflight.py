"""What must hold on the nodes before a rank starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.check.answers import read_probe
from harness.check.findings import (
    SITE,
    Finding,
    Probed,
    disagreeing,
    held_findings,
    lacking,
    node_findings,
    shared_machines,
    unlike_runtimes,
)
from harness.check.memory import require_memory
from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import BadInputError, NodeError
from harness.experiment.plan import Trial
from harness.launch.placement import Placement
from harness.nodes.agent import Code
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session, on_all


@dataclass
class Preflight:
    """The nodes' answers, and what is wrong with them."""

    probed: list[Probed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> list[Finding]:
        """What forbids a start."""
        return [finding for finding in self.findings if finding.level == "failed"]

    def runtime(self, node: str) -> Json:
        """A node's runtime.json."""
        return next((p.answer["runtime"] or {} for p in self.probed if p.node.name == node), {})

    def completed(self, node: Node) -> Node:
        """A node with the cores and the memory that it said it has, where the inventory does not say it."""
        said = next((probed.answer for probed in self.probed if probed.node.name == node.name), {})
        cores, memory = said.get("cores"), said.get("memory_bytes")
        return replace(
            node,
            cores=node.cores or (cores if isinstance(cores, int) else None),
            memory_bytes=node.memory_bytes or (memory if isinstance(memory, int) else None),
        )


def probe_nodes(session: Session, nodes: Sequence[Node], code: Code) -> Preflight:
    """Connect to all nodes at once, bring the code up to date, and ask each for its state."""

    def probe(node: Node) -> Probed:
        answer = read_probe(node.name, code.enter(session, node))
        after = time.time()
        # The node read its clock somewhere between question and answer; only what lies outside is skew for sure.
        skew = max(answer["asked_at"] - answer["time"], answer["time"] - after, 0.0)
        return Probed(node, answer, skew)

    result = Preflight()
    for node, answer in on_all(nodes, probe):
        if isinstance(answer, NodeError):
            result.findings.append(
                Finding(node.name, "start" if node.local else "ssh", "failed", answer.message, answer.remedy)
            )
        else:
            result.probed.append(answer)
    return result


def require(
    preflight: Preflight,
    trials: Sequence[Trial],
    cluster: Cluster,
    run: str | None = None,
    needs_runtime: bool = True,
) -> None:
    """Raise BadInputError unless every node can run every trial that is placed on it.

    A runtime is needed where one of the trials' programs says so; `needs_runtime` is false for jobs of which that is not known.
    """
    needs_runtime = needs_runtime and _needs_runtime(trials)
    findings = list(preflight.failed)
    for probed in preflight.probed:
        found = _obstacles(probed, trials, cluster, run)
        findings += [finding for finding in found if needs_runtime or finding.what != "runtime"]
    if trials:
        site = SITE.format(inventory=cluster.inventory)
        findings += shared_machines(preflight.probed)
        findings += disagreeing(preflight.probed, trials, site)
        unlike = unlike_runtimes(preflight.probed, site) if needs_runtime else []
        findings += [finding for finding in unlike if finding.level == "failed"]
    if findings:
        first, *rest = findings
        more = f" (and {len(rest)} more: {', '.join(sorted({f.node for f in rest}))})" if rest else ""
        detail = first.detail if first.detail.startswith(first.node) else f"{first.node}: {first.detail}"
        raise BadInputError(f"{detail}{more}", first.remedy)


def examine(
    session: Session,
    nodes: Sequence[Node],
    spare: Sequence[Node],
    code: Code,
    placements: Sequence[Placement],
    cluster: Cluster,
    run: str | None = None,
) -> tuple[Preflight, list[Node]]:
    """What the nodes of these trials say, and those of `spare` that could run them too; `run` may be one that is resumed.

    Raises BadInputError unless each of `nodes` can run every trial that is placed on it.
    """
    trials = [placement.trial for placement in placements]
    preflight = probe_nodes(session, nodes, code)
    require(preflight, trials, cluster, run)
    require_memory(placements, preflight.completed)
    if not spare:
        return preflight, []
    return preflight, fit_nodes(probe_nodes(session, spare, code), trials, cluster, preflight.probed)


def warnings_of(preflight: Preflight) -> list[Finding]:
    """What does not forbid a start, but should be known to who reads the results."""
    found = [f for probed in preflight.probed for f in node_findings(probed, "")] + unlike_runtimes(
        preflight.probed, ""
    )
    return [f for f in found if f.level == "warning"]


def fit_nodes(
    preflight: Preflight, trials: Sequence[Trial], cluster: Cluster, beside: Sequence[Probed] = ()
) -> list[Node]:
    """The nodes that could run these trials, together with those of `beside`."""
    needs_runtime = _needs_runtime(trials)

    def fit(probed: Probed) -> bool:
        found = _obstacles(probed, trials, cluster, None)
        wrong = [finding for finding in found if needs_runtime or finding.what != "runtime"]
        return not wrong and not (beside and disagreeing([*beside, *beside, probed], trials, ""))

    return [probed.node for probed in preflight.probed if fit(probed)]


def _needs_runtime(trials: Sequence[Trial]) -> bool:
    """Whether one of these trials runs in the nodes' first runtime; where there are none yet, one may."""
    return not trials or any(
        trial.program.runtime and trial.program.runs_in == wire.RUNTIME_DIRECTORY for trial in trials
    )


def _obstacles(probed: Probed, trials: Sequence[Trial], cluster: Cluster, run: str | None) -> list[Finding]:
    """Why a node cannot run these trials."""
    site = SITE.format(inventory=cluster.inventory)
    failed = [finding for finding in node_findings(probed, site) if finding.level == "failed"]
    if probed.node.controller:  # it has the harness's own Python, and nobody provisions it
        return [finding for finding in failed if finding.what != "runtime"] + held_findings(probed, run)
    return failed + lacking(probed, trials, site) + held_findings(probed, run)
