"""What the report needs to know from a run's manifest, read in one place and tolerant of what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Facts:
    """The part of a manifest that the report's sentences depend on.

    `axes` maps a swept parameter to its values (`nodes` among them); `link_bits_per_second` is the rate of a virtual
    node's link in each direction, `cores_per_node` its share of CPU, `cores_of_nodes` that of nodes that have another.
    """

    experiment: str = "experiment"
    description: str = ""
    started_at: str = ""
    kind: str = ""
    link: str = ""
    link_bits_per_second: float | None = None
    profile: str = ""
    cores_per_node: float | None = None
    cores_of_nodes: Mapping[str, float | None] = field(default_factory=dict)
    dilation: float = 1.0
    command: str = ""
    axes: Mapping[str, tuple[Any, ...]] | None = None
    planned_nodes: tuple[int, ...] = ()
    planned_trials: int | None = None

    @property
    def emulation(self) -> str:
        """One sentence on what was not real hardware; empty for real boards or where the kind is not known."""
        parts = (
            f"profile {self.profile}" if self.profile else "",
            f"{self.cores_per_node:.3g} of a core each" if self.cores_per_node else "no limit on CPU time",
            *(
                f"but {node} {cores:.3g}" if cores else f"but {node} no limit"
                for node, cores in self.cores_of_nodes.items()
            ),
            f"{self.link} each way" if self.link else "",
        )
        conditions = ", ".join(part for part in parts if part)
        sentence = _KIND_SENTENCES.get(self.kind, "").format(conditions=f" ({conditions})" if conditions else "")
        if self.dilation != 1:
            sentence += (
                f" Links and processors were slowed down by a factor of {self.dilation:g}, and the times divided by it, so "
                "that the machine that carries all nodes was no limit (dilated time)."
            )
        return sentence


def read_facts(manifest: Mapping[str, Any]) -> Facts:
    """The facts in a manifest; what is absent or malformed stays at its default."""
    experiment, cluster = mapping(manifest.get("experiment")), mapping(manifest.get("cluster"))
    virtual = mapping(cluster.get("virtual"))
    options, link = mapping(virtual.get("options")), mapping(virtual.get("link"))
    axes = {str(name): values(items) for name, items in mapping(experiment.get("axes")).items()}
    return Facts(
        experiment=_text(experiment.get("name")) or "experiment",
        description=_text(experiment.get("description")),
        started_at=_text(manifest.get("started_at")),
        kind=_text(cluster.get("kind")),
        link=_text(options.get("link")),
        link_bits_per_second=_positive(link.get("bits_per_second")),
        profile=_text(options.get("profile")),
        cores_per_node=_positive(mapping(virtual.get("quota")).get("fraction")),
        cores_of_nodes={
            str(node): _positive(mapping(quota).get("fraction"))
            for node, quota in mapping(virtual.get("node_quotas")).items()
        },
        dilation=_positive(cluster.get("time_dilation")) or 1.0,
        command=_text(manifest.get("command")),
        axes=axes or None,
        planned_nodes=tuple(sorted({int(n) for n in map(_positive, axes.get("nodes", ())) if n is not None})),
        planned_trials=len(values(manifest["trials"])) if "trials" in manifest else None,
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def values(value: Any) -> tuple[Any, ...]:
    """The items of a list; any other value as the only item, None as no item."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(value)
    return () if value is None else (value,)


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
