"""The health check behind `harness check`: every node, and the network between all pairs of them, or all at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.check.answers import read_reached
from harness.check.findings import (
    SITE,
    Finding,
    held_findings,
    node_findings,
    shared_machines,
    unlike_runtimes,
    with_environments,
)
from harness.check.preflight import probe_nodes
from harness.check.shared import on_radio, radio_findings, shared_findings
from harness.contract import wire
from harness.contract.json_line import Json
from harness.errors import NodeError
from harness.nodes.agent import Code, agent_command, ask
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session, on_all
from harness.nodes.ssh import SESSIONS_REMEDY
from harness.nodes.stream import Stream, StreamClosedError

CONNECT_TIMEOUT_SECONDS = 5.0
PROBE_BYTES = 8 << 20
# Of all nodes together, where they share one medium that passes them twice: two seconds on 30 Mbit/s, dilated or not.
# Nodes do not begin together, and then TCP has to find its pace: so for at least so long.
SHARED_PROBE_BYTES = 4 << 20
SHARED_PROBE_SECONDS = 4.0
# A node holds one session, follows its ranks over another, and is stopped or asked over further ones.
SESSIONS = 4
LOST_FRAMES_REMEDY = (
    "large frames are lost between them: look at cable and switch port, or at the signal, and at both nodes' MTU; "
    "on the node: ping -M do -s 1472 {peer}"
)


def check_cluster(session: Session, cluster: Cluster, nodes: Sequence[Node], code: Code) -> list[Finding]:
    """Everything that `harness check` looks at: each node, then the network between all pairs of them."""
    preflight = probe_nodes(session, nodes, code)
    site = SITE.format(inventory=cluster.inventory)
    findings = list(preflight.findings)
    for probed in preflight.probed:
        findings.append(_start(probed.node))
        findings += with_environments(node_findings(probed, site), probed)
        findings += radio_findings(probed, site)
        findings += held_findings(probed, None)
    up = [probed.node for probed in preflight.probed]
    findings += _sessions(session, up) + unlike_runtimes(preflight.probed, site)
    twice = shared_machines(preflight.probed)
    findings += twice
    up = [node for node in up if node.name not in {finding.node for finding in twice}]
    if len(up) > 1:
        names = [node.name for node in up]
        radios = [name for name in on_radio(preflight.probed) if name in names]
        findings += _network(session, cluster, up, names if cluster.shares_medium else radios, code)
    return findings


def _start(node: Node) -> Finding:
    """How a command is started there; a host key that nobody looks at is worth a warning."""
    if node.local:
        return Finding(node.name, "start", "ok", "this machine")
    way = f"{node.user}@{node.address}"
    if node.login is None or node.login.checking == "yes":
        return Finding(node.name, "ssh", "ok", f"{way}, host key as pinned")
    said = "no host key is refused" if node.login.checking == "no" else "an unknown host key is not refused"
    remedy = "pin the nodes' host keys (cluster_known_hosts), and leave StrictHostKeyChecking and host_key_checking out"
    return Finding(node.name, "ssh", "warning", f"{way}, {said}: the inventory or ~/.ssh/config says so", remedy)


def _sessions(session: Session, nodes: Sequence[Node]) -> list[Finding]:
    """Nodes whose SSH server allows too few sessions at once."""
    found = []
    for node, answer in on_all(nodes, lambda node: session.to(node).sessions(SESSIONS)) if nodes else ():
        if isinstance(answer, NodeError):
            found.append(Finding(node.name, "ssh", "failed", answer.message, answer.remedy))
        elif answer < SESSIONS:
            detail = f"its SSH server allows {answer} sessions beside the first, and {SESSIONS} are needed"
            found.append(Finding(node.name, "ssh", "failed", detail, SESSIONS_REMEDY))
    return found


def _network(
    session: Session, cluster: Cluster, nodes: Sequence[Node], sharing: Sequence[str], code: Code
) -> list[Finding]:
    """Every node listens on the store's port, every other one connects; each measures its rate to the next, all at once.

    Those that are named in `sharing` have one medium.
    """
    shared_bytes = round(SHARED_PROBE_BYTES / len(nodes) / cluster.time_dilation)
    probe_bytes, probe_seconds = (shared_bytes, SHARED_PROBE_SECONDS) if len(sharing) > 1 else (PROBE_BYTES, 0.0)
    streams = []
    findings = []
    try:
        for node in nodes:
            stream = session.to(node).open(agent_command(node, code.hash, wire.SERVE))
            streams.append(stream)
            stream.send_line({"address": node.address, "port": cluster.port})
        for node, stream in zip(nodes, streams, strict=True):
            frame = _listening(stream)
            if frame is None or frame[0].get("frame") != wire.LISTENING_FRAME:
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
            answer = ask(
                session.to(node), code.hash, wire.CONNECT, port=cluster.port, peers=peers, measure=following.address,
                probe_bytes=probe_bytes, probe_seconds=probe_seconds, timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            )  # fmt: skip
            now = time.monotonic()
            found = read_reached(node.name, answer)
            # By this machine's clock: those of the nodes need not agree.
            arrivals = [(now - age, count) for age, count in found.get("arrivals", ())]
            return {**found, "arrivals": arrivals, "next": following.name, "next_address": following.address}

        names = {node.address: node.name for node in nodes}
        answers = list(on_all(nodes, connect))
        for node, answer in answers:
            findings += network_findings(node, answer, names, cluster.time_dilation, probe_bytes)
        told = {node.name: answer for node, answer in answers if node.name in sharing}
        findings += shared_findings(told, cluster.time_dilation)
    except NodeError as error:
        findings.append(Finding(error.node, "network", "failed", error.message, error.remedy))
    except StreamClosedError as error:
        findings.append(
            Finding("all", "network", "failed", f"the network could not be measured: {error or 'no answer'}")
        )
    finally:
        for stream in streams:
            stream.close()
    return findings


def _listening(stream: Stream) -> tuple[Json, bytes] | None:
    try:
        return stream.read_frame(CONNECT_TIMEOUT_SECONDS)
    except TimeoutError:
        return {"error": f"no answer within {CONNECT_TIMEOUT_SECONDS:.0f} s"}, b""


def network_findings(
    node: Node,
    answer: Json | NodeError,
    names: Mapping[str, str],
    dilation: float = 1.0,
    probe_bytes: int = PROBE_BYTES,
) -> list[Finding]:
    """Judge what a node found of its peers (`names` by address), in undilated time; pure."""
    if isinstance(answer, NodeError):
        return [Finding(node.name, "network", "failed", answer.message, answer.remedy)]
    found = [
        Finding(node.name, "network", "failed", f"cannot reach {names[peer]} ({peer}) on the store's port: {reached}",
                "look at cables or signal, and at the firewall role's cluster addresses")
        for peer, reached in answer["reached"].items() if isinstance(reached, str) and peer in names
    ]  # fmt: skip
    if found:
        return found
    rate = answer.get("bytes_per_second")
    slowest = max((each for each in answer["reached"].values() if not isinstance(each, str)), default=0.0) / dilation
    detail = f"reaches {len(answer['reached'])} peers, slowest in {1000 * slowest:.1f} ms"
    if rate is None:
        peer, reason = answer.get("next", "the next"), str(answer.get("reason") or "no answer")[:200]
        remedy = LOST_FRAMES_REMEDY.format(peer=answer.get("next_address", "PEER"))
        detail = f"{detail}; but {probe_bytes / 2**20:.2g} MiB do not get from it to {peer}: {reason}"
        return [Finding(node.name, "network", "failed", detail, remedy)]
    return [Finding(node.name, "network", "ok", f"{detail}; sends {rate * dilation * 8 / 1e6:.0f} Mbit/s to the next")]
