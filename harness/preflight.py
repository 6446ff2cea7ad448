"""What must hold on the nodes before a rank starts, and the wider health check behind `harness check`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.agent import Code, agent_command, ask
from harness.errors import BadInputError, NodeError
from harness.hold import describe_holder
from harness.inventory import Cluster, Node
from harness.json_line import Json
from harness.plan import Trial, needs_parameter_servers
from harness.stream import StreamClosedError
from harness.transport import Session, on_all

MINIMUM_MEMORY_BYTES = 200 << 20
MINIMUM_DISK_BYTES = 200 << 20
CLOCK_SKEW_LIMIT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 5.0
PROBE_BYTES = 8 << 20
# Data sets that travel with the code.
EMBEDDED_DATASETS = frozenset({"digits"})
CLOCK_REMEDY = "let time synchronisation work: timedatectl status"
STOP_REMEDY = "stop what else runs there"
DISK_REMEDY = "harness clean, or free some space"
POWER_REMEDY = "better power supply or cooling"
SITE = "ansible-playbook -i {inventory} ansible/playbooks/site.yml"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at on one node."""

    node: str
    what: str
    level: Literal["ok", "warning", "failed"]
    detail: str
    remedy: str = ""


@dataclass
class Probed:
    """What a node answered, and when the controller heard it."""

    node: Node
    answer: Json
    skew_seconds: float


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


def probe_nodes(session: Session, nodes: Sequence[Node], code: Code) -> Preflight:
    """Connect to all nodes at once, bring the code up to date, and ask each for its state."""

    def probe(node: Node) -> Probed:
        answer = code.enter(session, node)
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
    """Raise BadInputError unless every node can run every trial that is placed on it."""
    findings = list(preflight.failed)
    for probed in preflight.probed:
        found = _obstacles(probed, trials, cluster, run)
        findings += [finding for finding in found if needs_runtime or finding.what != "runtime"]
    if findings:
        first, *rest = findings
        more = f" (and {len(rest)} more: {', '.join(sorted({f.node for f in rest}))})" if rest else ""
        detail = first.detail if first.detail.startswith(first.node) else f"{first.node}: {first.detail}"
        raise BadInputError(f"{detail}{more}", first.remedy)


def warnings_of(preflight: Preflight) -> list[Finding]:
    """What does not forbid a start, but should be known to who reads the results."""
    return [f for probed in preflight.probed for f in node_findings(probed, "") if f.level == "warning"]


def fit_nodes(preflight: Preflight, trials: Sequence[Trial], cluster: Cluster) -> list[Node]:
    """The nodes that could run these trials."""
    return [probed.node for probed in preflight.probed if not _obstacles(probed, trials, cluster, None)]


def _obstacles(probed: Probed, trials: Sequence[Trial], cluster: Cluster, run: str | None) -> list[Finding]:
    """Why a node cannot run these trials."""
    site = SITE.format(inventory=cluster.inventory)
    failed = [finding for finding in node_findings(probed, site) if finding.level == "failed"]
    return failed + _needs(probed, trials, site) + _held(probed, run)


def node_findings(probed: Probed, site: str) -> list[Finding]:
    """Judge one node's answer; pure."""
    name, answer = probed.node.name, probed.answer
    runtime = answer["runtime"]

    def finding(
        what: str, good: bool, detail: str, remedy: str = "", bad: Literal["warning", "failed"] = "failed"
    ) -> Finding:
        return Finding(name, what, "ok" if good else bad, detail, "" if good else remedy)

    memory, disk = answer["memory_available_bytes"], answer["disk_free_bytes"]
    skew, root = probed.skew_seconds, probed.node.root
    found = [
        finding("clock", skew <= CLOCK_SKEW_LIMIT_SECONDS, f"clock is off by {skew:.1f} s", CLOCK_REMEDY, "warning"),
        finding(
            "memory", memory >= MINIMUM_MEMORY_BYTES, f"{memory >> 20} MiB of memory available", STOP_REMEDY, "warning"
        ),
        finding("disk", disk >= MINIMUM_DISK_BYTES, f"{disk >> 20} MiB of disk free at {root}", DISK_REMEDY),
        finding(
            "sudo",
            answer["sudo"],
            "sudo works" if answer["sudo"] else "sudo asks for a password, so no unit can start",
            site,
        ),
        finding("runtime", runtime is not None, describe_runtime(runtime, root), site),
    ]
    if answer["throttled"] is not None:
        hot = bool(int(answer["throttled"], 16) & 0xF)
        found.append(finding("power", not hot, f"throttled={answer['throttled']}", POWER_REMEDY, "warning"))
    return found


def describe_runtime(runtime: Json | None, root: str) -> str:
    """What a node's runtime offers, in words."""
    if runtime is None:
        return f"has no runtime at {root}/runtime"
    return f"MXNet {runtime['mxnet']}, Python {runtime['python']}, stores: {', '.join(runtime['stores']) or 'none'}"


def _needs(probed: Probed, trials: Sequence[Trial], site: str) -> list[Finding]:
    """What a node lacks for these trials: a store, a data set."""
    name, answer = probed.node.name, probed.answer
    found = []
    stores = set((answer["runtime"] or {}).get("stores", []))
    wanted = {
        str(t.parameters["kvstore"])
        for t in trials
        if "kvstore" in t.parameters and needs_parameter_servers(t.parameters)
    }
    for store in sorted(wanted - stores) if answer["runtime"] else []:
        remedy = f"use --set kvstore=allreduce, or supply an MXNet wheel built with USE_DIST_KVSTORE=ON: {site}"
        found.append(Finding(name, "store", "failed", f"its MXNet has no {store} store", remedy))
    datasets = {str(t.parameters["dataset"]) for t in trials if t.parameters.get("dataset")}
    for dataset in sorted(datasets - EMBEDDED_DATASETS - set(answer["data"])):
        where = f"{probed.node.root}/data/{dataset}"
        remedy = f'{site} -e \'{{"dataset_names": ["{dataset}"]}}\', or --set dataset=digits'
        found.append(Finding(name, "data", "failed", f"has no data set {dataset} at {where}", remedy))
    for dataset in sorted(datasets & set(answer["data"])):
        for file in answer["data"][dataset]["wrong"]:
            detail = f"{probed.node.root}/data/{dataset}/{file} is not whole"
            found.append(Finding(name, "data", "failed", detail, site))
    return found


def _held(probed: Probed, run: str | None) -> list[Finding]:
    """Two sweeps on one cluster would measure each other."""
    name, holder = probed.node.name, probed.answer["held"]
    if holder:
        return [Finding(name, "busy", "failed", describe_holder(holder), "wait for it, or stop it there")]
    others = sorted({held.split("/")[0] for held in probed.answer["running"]} - {run})
    remedy = "its harness is gone; its ranks end with their lease, or now: harness clean"
    return [Finding(name, "busy", "failed", f"is held by run {other}", remedy) for other in others]


# --- harness check ---


def check_cluster(session: Session, cluster: Cluster, nodes: Sequence[Node], code: Code) -> list[Finding]:
    """Everything that `harness check` looks at: each node, then the network between all pairs of them."""
    preflight = probe_nodes(session, nodes, code)
    site = SITE.format(inventory=cluster.inventory)
    findings = list(preflight.findings)
    for probed in preflight.probed:
        how = "this machine" if probed.node.local else f"{probed.node.user}@{probed.node.address}, host key as pinned"
        findings.append(Finding(probed.node.name, "start" if probed.node.local else "ssh", "ok", how))
        findings += node_findings(probed, site)
        findings += _held(probed, None)
    up = [probed.node for probed in preflight.probed]
    if len(up) > 1:
        findings += _network(session, cluster, up, code)
    return findings


def _network(session: Session, cluster: Cluster, nodes: Sequence[Node], code: Code) -> list[Finding]:
    """Every node listens on the store's port, every other one connects; each measures its rate to the next."""
    streams = []
    findings = []
    try:
        for node in nodes:
            stream = session.to(node).open(agent_command(node, code.hash, "serve"))
            streams.append(stream)
            stream.send_line({"address": node.address, "port": cluster.port})
        for node, stream in zip(nodes, streams, strict=True):
            frame = stream.read_frame(CONNECT_TIMEOUT_SECONDS)
            if frame is None or frame[0].get("frame") != "listening":
                reason = frame[0].get("error") if frame else stream.errors()
                detail = f"cannot listen on {node.address}:{cluster.port}: {reason}"
                findings.append(
                    Finding(node.name, "port", "failed", detail, "is another program using the port? set cluster_port")
                )
        if findings:
            return findings

        def connect(node: Node) -> Json:
            peers = [peer.address for peer in nodes if peer.name != node.name]
            following = nodes[(list(nodes).index(node) + 1) % len(nodes)]
            return ask(
                session.to(node), code.hash, "connect", port=cluster.port, peers=peers, measure=following.address,
                probe_bytes=PROBE_BYTES, timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            )  # fmt: skip

        names = {node.address: node.name for node in nodes}
        for node, answer in on_all(nodes, connect):
            findings += network_findings(node, answer, names, cluster.time_dilation)
    except (TimeoutError, StreamClosedError, NodeError) as error:
        findings.append(
            Finding("all", "network", "failed", f"the network could not be measured: {error or 'no answer'}")
        )
    finally:
        for stream in streams:
            stream.close()
    return findings


def network_findings(
    node: Node, answer: Json | NodeError, names: Mapping[str, str], dilation: float = 1.0
) -> list[Finding]:
    """Judge what a node found of its peers (`names` by address), in undilated time; pure."""
    if isinstance(answer, NodeError):
        return [Finding(node.name, "network", "failed", answer.message, answer.remedy)]
    found = [
        Finding(node.name, "network", "failed", f"cannot reach {names[peer]} ({peer}) on the store's port: {reached}",
                "look at cabling and at the firewall role's cluster addresses")
        for peer, reached in answer["reached"].items() if isinstance(reached, str)
    ]  # fmt: skip
    if found:
        return found
    rate = answer["bytes_per_second"]
    slowest = max(answer["reached"].values()) / dilation
    detail = f"reaches {len(answer['reached'])} peers, slowest in {1000 * slowest:.1f} ms"
    if rate is None:
        return [Finding(node.name, "network", "warning", f"{detail}; its rate could not be measured")]
    return [Finding(node.name, "network", "ok", f"{detail}; sends {rate * dilation * 8 / 1e6:.0f} Mbit/s to the next")]
