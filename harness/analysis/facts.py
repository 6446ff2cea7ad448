"""What a reader must know of a run beside its numbers: from its manifest, read in one place, and of trials that lack. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.analysis.program import Program, read_program
from harness.contract import wire
from harness.contract.columns import DEFAULT_ACCURACIES
from harness.contract.json_line import mapping

SHARED_LOOPBACK = (
    "Bytes are left out: the nodes share one loopback interface, whose counter cannot tell whose they are."
)

_KIND_SENTENCES = {
    "local": (
        "All nodes are processes of one machine and share its processors and its loopback link: these times show that "
        "the path works, not how a cluster of separate machines scales."
    ),
    "virtual": (
        "The nodes are virtual: containers of one machine{conditions}, which also runs the harness. These "
        "times are of that emulation, not of Raspberry Pi boards."
    ),
    "emulated": "The nodes are Raspberry Pi boards emulated in software: these times are not those of real boards.",
}

_CPU_SENTENCES = {
    "stretched": " Every node computed at one speed, whether it had waited or not (CPU model: stretched).",
    "quota": (
        " Caution: the nodes' processors were limited by a quota (CPU model: quota). A node that has waited then computes "
        "faster than one that has not, as no board does: what waits looks better here than it is."
    ),
    "none": " Nothing limited the nodes' processors (CPU model: none).",
}


@dataclass(frozen=True)
class Facts:
    """The part of a manifest that the report's sentences depend on.

    `axes` maps a swept parameter to its values (`nodes` among them); `link_bits_per_second` is the rate of a virtual
    node's link in each direction, or with `shares_medium` that of the one medium of all, `cores_per_node` its share of CPU,
    `speeds_of_nodes` the profile and share of nodes that have their own; `all_own` says that all have, so that `profile`
    and `cores_per_node` are of none. `settings` are the parameters that the run really had, as text; `policies` the variants
    of which the quickest counts; `unlike` says that the nodes differ in speed. `other_programs` are the variants that run
    another program than the experiment's, which `program` describes.
    """

    experiment: str = "experiment"
    description: str = ""
    started_at: str = ""
    kind: str = ""
    link: str = ""
    link_bits_per_second: float | None = None
    shares_medium: bool = False
    profile: str = ""
    cores_per_node: float | None = None
    speeds_of_nodes: Mapping[str, tuple[str, float | None]] = field(default_factory=dict)
    all_own: bool = False
    cpu_model: str = ""
    dilation: float = 1.0
    command: str = ""
    axes: Mapping[str, tuple[Any, ...]] | None = None
    planned_nodes: tuple[int, ...] = ()
    planned_trials: int | None = None
    program: Program = field(default_factory=Program)
    other_programs: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    accuracies: tuple[float, ...] = DEFAULT_ACCURACIES
    settings: Mapping[str, str] = field(default_factory=dict)
    unlike: bool = False

    @property
    def emulation(self) -> str:
        """One sentence on what was not real hardware; empty for real boards or where the kind is not known."""
        parts = (
            *(self._own_speeds() if self.all_own else self._speeds()),
            describe_link(self.link, shared=self.shares_medium),
        )
        conditions = ", ".join(part for part in parts if part)
        sentence = _KIND_SENTENCES.get(self.kind, "").format(conditions=f" ({conditions})" if conditions else "")
        sentence += _CPU_SENTENCES.get(self.cpu_model, "")
        if self.dilation != 1:
            sentence += (
                f" Links and processors were slowed down by a factor of {self.dilation:g}, and the times divided by it, so "
                "that the machine that carries all nodes was no limit (dilated time)."
            )
        return sentence

    def _speeds(self) -> Iterator[str]:
        """How fast the nodes are, and those that are another."""
        yield f"profile {self.profile}" if self.profile else ""
        yield f"{self.cores_per_node:.3g} of a core each" if self.cores_per_node else "no limit on CPU time"
        for node, (_, cores) in self.speeds_of_nodes.items():
            yield f"but {node} {cores:.3g}" if cores else f"but {node} no limit"

    def _own_speeds(self) -> Iterator[str]:
        """How many nodes are of which speed, where each was given its own."""
        for (profile, cores), count in Counter(self.speeds_of_nodes.values()).items():
            share = f"{cores:.3g} of a core a thread" if cores else "no limit on CPU time"
            yield " ".join(filter(None, (f"{count}", profile and f"of profile {profile}", f"at {share}")))


def read_facts(manifest: Mapping[str, Any]) -> Facts:
    """The facts in a manifest; what is absent or malformed stays at its default."""
    experiment, cluster = mapping(manifest.get("experiment")), mapping(manifest.get("cluster"))
    virtual = mapping(cluster.get("virtual"))
    options, link = mapping(virtual.get("options")), mapping(virtual.get("link"))
    axes = {str(name): values(items) for name, items in mapping(experiment.get("axes")).items()}
    node_quotas = mapping(virtual.get("node_quotas"))
    all_own = all_have_own_speeds(virtual)
    return Facts(
        experiment=_text(experiment.get("name")) or "experiment",
        description=_text(experiment.get("description")),
        started_at=_text(manifest.get("started_at")),
        kind=_text(cluster.get("kind")),
        link=_text(options.get("link")),
        link_bits_per_second=_positive(link.get("bits_per_second")),
        shares_medium=shares_medium(manifest),
        profile="" if all_own else _text(options.get("profile")),
        cores_per_node=_positive(mapping(virtual.get("quota")).get("fraction")),
        speeds_of_nodes={
            str(node): (_text(mapping(quota).get("profile")), _positive(mapping(quota).get("fraction")))
            for node, quota in node_quotas.items()
        },
        all_own=all_own,
        cpu_model=_cpu_model(virtual, options),
        dilation=_positive(cluster.get("time_dilation")) or 1.0,
        command=_text(manifest.get("command")),
        axes=axes or None,
        planned_nodes=tuple(sorted({int(n) for n in map(_positive, axes.get("nodes", ())) if n is not None})),
        planned_trials=len(values(manifest["trials"])) if "trials" in manifest else None,
        program=read_program(manifest),
        policies=tuple(map(str, values(experiment.get("policies")))),
        accuracies=tuple(each for each in map(_positive, values(experiment.get("accuracies"))) if each)
        or DEFAULT_ACCURACIES,
        settings={
            str(name): _text(value).lower() if isinstance(value, bool) else _text(value)
            for name, value in mapping(experiment.get("parameters")).items()
            if value is not None and name not in axes
        },
        unlike=bool(node_quotas) or len({_kind_of(node) for node in values(cluster.get("nodes"))}) > 1,
        other_programs=tuple(
            str(variant)
            for variant, about in mapping(experiment.get("variants")).items()
            if mapping(about).get("program") not in (None, experiment.get("program"))
        ),
    )


def all_have_own_speeds(virtual: Mapping[str, Any]) -> bool:
    """Whether every node of what a virtual cluster wrote about itself has its own speed, so that the cluster's is nobody's."""
    nodes = mapping(virtual.get("nodes"))
    return bool(nodes) and set(nodes) <= set(mapping(virtual.get("node_quotas")))


def shares_medium(manifest: Mapping[str, Any]) -> bool:
    """Whether the nodes of a run shared one medium; runs of before there was one had cables."""
    return bool(mapping(manifest.get("cluster")).get("link") == "wifi")


def describe_link(link: str, *, shared: bool) -> str:
    """What joined the nodes, in words; empty where that is not known."""
    if shared:
        return f"{link or 'wifi'}, a medium that all share"
    return link and f"{link} each way"


def partial_notes(trials: pd.DataFrame, epochs: pd.DataFrame, facts: Facts) -> list[str]:
    """Which trials are missing, ran more than once, continued from a checkpoint, or lacked nodes: a sentence for each kind.

    Args:
        trials: frame with the columns of trials.csv, numbers as float64 (units do not matter).
        epochs: frame with the columns of epochs.csv, numbers as float64 (units do not matter).
        facts: what was planned.
    """
    notes = []
    for name, rows in epochs[~epochs["trial"].isin(list(trials["trial"]))].groupby("trial"):
        notes.append(f"Trial {name} has epochs (up to {rows['epoch'].max():.0f}) but no result: left out.")
    if facts.planned_trials is not None and len(trials) < facts.planned_trials:
        notes.append(f"{len(trials)} of {facts.planned_trials} planned trials have a result.")
    again = list(trials["trial"][trials["attempts"] > 1])
    if again:
        notes.append(f"Needed more than one attempt: {', '.join(again)}.")
    recovered = list(trials["trial"][trials["recovered"] > 0])
    if recovered:
        notes.append(f"Started again in place after a worker had died: {', '.join(recovered)}.")
    continued = list(trials["trial"][trials["continued_from_epoch"].notna()])
    if continued:
        notes.append(
            f"Went on from a checkpoint; times are sums over the starts without what was lost: {', '.join(continued)}."
        )
    for nodes, rows in trials[trials["left_out"] != ""].groupby("left_out"):
        notes.append(f"Ran on other nodes, with {nodes} left out after failures: {', '.join(rows['trial'])}.")
    missing = sorted(set(facts.planned_nodes) - set(trials["nodes"]))
    if missing:
        notes.append(f"Planned cluster sizes without any trial: {', '.join(map(str, missing))}.")
    return notes


def together_notes(steady: pd.DataFrame, numbers: pd.DataFrame) -> list[str]:
    """Which trials' workers did not all train at one time, so that their rates added up are those of different times.

    Args:
        steady: frame with columns `trial` (text), `rank`, `epoch` (float64) and `together` (bool) without units, as
            `rates.steady_rows` gives it.
        numbers: frame with column `trial` (text), a row a measured trial; no units.
    """
    rows = steady[~steady["together"] & (steady["epoch"] > 1)]
    workers = rows.groupby("trial")["rank"].nunique()
    apart = [name for name in numbers["trial"] if workers.get(name, 0) > 1]
    if not apart:
        return []
    return [f"Images per second are of times when not all workers trained at once: {', '.join(apart)}."]


def values(value: Any) -> tuple[Any, ...]:
    """The items of a list; any other value as the only item, None as no item."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(value)
    return () if value is None else (value,)


def _cpu_model(virtual: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """How a virtual cluster's processors were slowed down; before there was a choice it was a quota. Empty for real nodes."""
    if not virtual:
        return ""
    if _positive(mapping(virtual.get("quota")).get("fraction")) is None:
        return "none"
    return _text(options.get(wire.CPU_MODEL)) or "quota"


def _kind_of(node: Any) -> tuple[str, str]:
    about = mapping(node)
    return _text(about.get("machine")), _text(about.get("cores"))


def _positive(value: Any) -> float | None:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
        else None
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)
