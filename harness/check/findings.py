"""What a node's answer means: good, worth a warning, or a reason not to start. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.contract import wire
from harness.contract.json_line import Json
from harness.experiment.datasets import embedded_datasets
from harness.experiment.plan import Trial
from harness.experiment.program import Need
from harness.launch.hold import describe_holder
from harness.nodes.agent import sudo_fault
from harness.nodes.inventory import Node
from harness.nodes.stream import SHELL_REMEDY

MINIMUM_MEMORY_BYTES = 200 << 20
MINIMUM_DISK_BYTES = 200 << 20
CLOCK_SKEW_LIMIT_SECONDS = 2.0
CLOCK_REMEDY = "let time synchronisation work: timedatectl status"
STOP_REMEDY = "stop what else runs there"
DISK_REMEDY = "harness clean, or free some space"
POWER_REMEDY = "better power supply or cooling"
ROOT_REMEDY = "is its file system read-only (dmesg tells of a card that fails), or another user's? else {site}"
TWICE_REMEDY = "both addresses lead to one machine: leave one of them out of the inventory"
# Of a runtime: those that must be the same on all nodes, and those that should.
SAME_PARTS = ("mxnet", "torch")
LIKE_PARTS = ("python", "numpy")
SITE = "harness provision -i {inventory} site.yml"


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
    refused, password = sudo_fault(probed.node, str(answer.get("sudo_says") or ""))
    found = [
        finding("clock", skew <= CLOCK_SKEW_LIMIT_SECONDS, f"clock is off by {skew:.1f} s", CLOCK_REMEDY, "warning"),
        finding(
            "memory", memory >= MINIMUM_MEMORY_BYTES, f"{memory >> 20} MiB of memory available", STOP_REMEDY, "warning"
        ),
        finding("disk", disk >= MINIMUM_DISK_BYTES, f"{disk >> 20} MiB of disk free at {root}", DISK_REMEDY),
        finding(
            "root",
            answer.get("root_writable", True),
            f"{root} can be written" if answer.get("root_writable", True) else f"{root} cannot be written",
            ROOT_REMEDY.format(site=site),
        ),
        finding("sudo", answer["sudo"], "sudo works" if answer["sudo"] else refused, password),
        finding("runtime", runtime is not None, answer.get("runtime_fault") or describe_runtime(runtime, root), site),
    ]
    if noise := answer.get("noise"):
        shown = " ".join(str(noise).split())[:80]
        found.append(
            finding("shell", False, f"its login shell prints {shown!r} before all answers", SHELL_REMEDY, "warning")
        )
    if answer["throttled"] is not None:
        hot = bool(int(answer["throttled"], 16) & 0xF)
        found.append(finding("power", not hot, f"throttled={answer['throttled']}", POWER_REMEDY, "warning"))
    return found


def describe_runtime(runtime: Json | None, root: str) -> str:
    """What a node's runtime offers, in words."""
    if runtime is None:
        return f"has no runtime at {root}/runtime"
    mxnet = f"MXNet {runtime['mxnet']}" if runtime.get("mxnet") else "no MXNet"
    return f"{mxnet}, Python {runtime['python']}, stores: {', '.join(runtime['stores']) or 'none'}"


def shared_machines(probed: Sequence[Probed]) -> list[Finding]:
    """Nodes that are a machine which another node is too, and would be measured twice; nodes of this machine are meant so."""
    first: dict[str, str] = {}
    found = []
    for each in probed:
        machine = each.answer.get("machine_id")
        if not machine or each.node.local:
            continue
        other = first.setdefault(machine, each.node.name)
        if other != each.node.name:
            detail = f"{each.node.address} is the same machine as node {other}"
            found.append(Finding(each.node.name, "machine", "failed", detail, TWICE_REMEDY))
    return found


def unlike_runtimes(probed: Sequence[Probed], site: str) -> list[Finding]:
    """Nodes whose runtime has other versions than most nodes have."""
    found = []
    runtimes = [(each.node.name, each.answer["runtime"]) for each in probed if each.answer["runtime"]]
    for part in (*SAME_PARTS, *LIKE_PARTS):
        versions = Counter(str(runtime[part]) for _, runtime in runtimes if runtime.get(part))
        usual = max(versions, key=lambda version: versions[version], default="")
        for name, runtime in runtimes:
            if runtime.get(part) and str(runtime[part]) != usual:
                detail = f"its {part} is {str(runtime[part])[:40]}, that of most nodes {usual[:40]}"
                found.append(Finding(name, "runtime", "failed" if part in SAME_PARTS else "warning", detail, site))
    return found


def with_environments(findings: Sequence[Finding], probed: Probed) -> list[Finding]:
    """The findings of a node with its further environments; one that has only these has all that it was provisioned with."""
    others = probed.answer.get("runtimes") or {}
    found = [
        Finding(probed.node.name, name, "ok", f"environment {name}, Python {state.get('python')}")
        for name, state in sorted(others.items())
        if state
    ]
    kept = [each for each in findings if not (found and each.what == "runtime" and each.level == "failed")]
    return kept + found


def lacking(probed: Probed, trials: Sequence[Trial], site: str) -> list[Finding]:
    """What a node lacks for these trials: a part of its runtime, a data set."""
    needs = {
        (trial.program.runs_in, repr(need)): need
        for trial in trials
        for need in trial.program.needs_of(trial.parameters)
    }
    found = [finding for (name, _), need in needs.items() if (finding := _lacks(probed, name, need, site))]
    lacks = list(dict.fromkeys(found))  # an environment that is not there lacks everything
    datasets = {trial.dataset: trial for trial in trials if trial.dataset}
    return lacks + [finding for name in sorted(datasets) for finding in _data(probed, datasets[name], site)]


def _lacks(probed: Probed, environment: str, need: Need, site: str) -> Finding | None:
    """What the environment of a program has not of a need; None where it has all, or where it is no runtime at all."""
    name, runtime = probed.node.name, probed.answer["runtime"]
    if environment != wire.RUNTIME_DIRECTORY:
        runtime = probed.answer.get("runtimes", {}).get(environment)
        site = f'{site} -e \'{{"node_runtimes": ["{environment}"]}}\''
        if not runtime:
            where = f"{probed.node.root}/{wire.RUNTIMES_DIRECTORY}/{environment}"
            return Finding(name, environment, "failed", f"has no environment {environment} at {where}", site)
    if not runtime:
        return None  # said by node_findings
    if not runtime.get(need.part):
        return Finding(name, need.part, "failed", f"its runtime has no {need.part}", need.remedy or site)
    for list_name, value in need.offers.items():
        offered = runtime.get(list_name)
        if value not in (offered if isinstance(offered, list) else ()):
            what = list_name.removesuffix("s")
            remedy = f"{need.remedy}: {site}" if need.remedy else site
            return Finding(name, what, "failed", f"its {need.part} has no {value} {what}", remedy)
    return None


def disagreeing(probed: Sequence[Probed], trials: Sequence[Trial], site: str) -> list[Finding]:
    """Nodes whose runtime has another value than most for what a program of these trials needs the same everywhere."""
    found = []
    needs = {
        need.same: need
        for trial in trials
        for need in trial.program.needs_of(trial.parameters)
        if need.same and trial.program.runs_in == wire.RUNTIME_DIRECTORY
    }
    values = [(each.node.name, each.answer["runtime"]) for each in probed if each.answer["runtime"]]
    for key, need in needs.items():
        counted = Counter(str(runtime.get(key)) for _, runtime in values)
        usual = max(counted, key=lambda value: counted[value], default="")
        for name, runtime in values:
            if (value := str(runtime.get(key))) != usual:
                detail = f"its {key} is {value[:40]}, that of most nodes {usual[:40]}: they cannot train together"
                found.append(Finding(name, key, "failed", detail, f"{need.remedy}: {site}" if need.remedy else site))
    return found


def _data(probed: Probed, trial: Trial, site: str) -> list[Finding]:
    """What is wrong with the node's copy of the data set that a trial needs."""
    name, dataset, known = probed.node.name, str(trial.dataset), probed.answer["data"]
    embedded = embedded_datasets()
    if dataset in embedded:
        return []
    where = f"{probed.node.root}/data/{dataset}"
    if dataset not in known:
        other = f", or --set {trial.program.dataset}={embedded[0]}" if embedded else ""
        remedy = f'{site} -e \'{{"dataset_names": ["{dataset}"]}}\'{other}'
        return [Finding(name, "data", "failed", f"has no data set {dataset} at {where}", remedy)]
    return [Finding(name, "data", "failed", f"{where}/{file} is not whole", site) for file in known[dataset]["wrong"]]


def held_findings(probed: Probed, run: str | None) -> list[Finding]:
    """Two sweeps on one cluster would measure each other."""
    name, holder = probed.node.name, probed.answer["held"]
    if holder:
        return [Finding(name, "busy", "failed", describe_holder(holder), "wait for it, or stop it there")]
    others = sorted({held.split("/")[0] for held in probed.answer["running"]} - {run})
    remedy = "its harness is gone; its ranks end with their lease, or now: harness clean"
    return [Finding(name, "busy", "failed", f"is held by run {other}", remedy) for other in others]
