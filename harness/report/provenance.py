"""How a run was measured, in a few rows out of its manifest; and the whole manifest, flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.analysis.facts import all_have_own_speeds, describe_link, shares_medium, values
from harness.contract import wire
from harness.contract.json_line import mapping

Row = tuple[str, str]


def essentials(manifest: Mapping[str, Any]) -> list[Row]:
    """What a reader needs to judge or repeat the run; what the manifest does not say is left out."""
    cluster = mapping(manifest.get("cluster"))
    virtual = mapping(cluster.get("virtual"))
    options, quota = mapping(virtual.get("options")), mapping(virtual.get("quota"))
    own_quotas, rates = mapping(virtual.get("node_quotas")), mapping(mapping(manifest.get("rates")).get("nodes"))
    own = all_have_own_speeds(virtual)
    nodes = [mapping(node) for node in values(cluster.get("nodes"))]
    git = mapping(manifest.get("git"))
    rows = [
        ("cluster", _text(cluster.get("kind"))),
        ("nodes", _counted(_joined(node.get("machine"), _unit(node.get("cores"), "cores")) for node in nodes)),
        ("runtime", _counted(_runtime(mapping(node.get("runtime"))) for node in nodes)),
        ("link", describe_link(_text(options.get("link")), shared=shares_medium(manifest))),
        ("dilated time", _dilated(cluster.get("time_dilation"))),
        ("memory", "" if options.get("machines") else _text(options.get("memory"))),
        (
            "profile",
            ""
            if own
            else _joined(options.get("profile"), _unit(quota.get("fraction"), "of a core"), quota.get("rule")),
        ),
        ("CPU model", _text(options.get(wire.CPU_MODEL))),
        (
            "profiles" if own else "other profiles",
            "; ".join(_own_quota(name, mapping(own)) for name, own in own_quotas.items()),
        ),
        ("batches by rate", "; ".join(_rate(name, mapping(rate)) for name, rate in rates.items())),
        ("board", "" if own else _joined(*(mapping(quota.get("board")).get(key) for key in ("description", "source")))),
        ("seeds", _joined(*values(manifest.get("seeds")))),
        ("git revision", _text(git.get("revision")) + (", with changes since" if git.get("changed") else "")),
        ("code on the nodes", _text(manifest.get("code_sha256"))),
        ("versions", ", ".join(f"{name} {value}" for name, value in mapping(manifest.get("versions")).items())),
    ]
    return [(name, value) for name, value in rows if value]


def flatten(value: Any, prefix: str = "") -> list[Row]:
    """A nested manifest as (dotted name, text) rows, in its own order; lists of scalars stay on one row."""
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in flatten(item, f"{prefix}.{key}" if prefix else str(key))]
    if _is_nested(value):
        return [row for index, item in enumerate(value) for row in flatten(item, f"{prefix}[{index}]")]
    return [(prefix, _joined(*values(value)))]


def _dilated(factor: Any) -> str:
    if factor in (None, 1):
        return ""
    return f"links and processors slowed down by {_text(factor)}, times divided by it (not CPU seconds, and not the clock's)"


def _own_quota(node: str, quota: Mapping[str, Any]) -> str:
    return f"{node}: {_joined(quota.get('profile'), _unit(quota.get('fraction'), 'of a core'))}"


def _rate(node: str, rate: Mapping[str, Any]) -> str:
    fixed, image = (rate.get(f"{part}_seconds") for part in ("fixed", "image"))
    if not isinstance(fixed, int | float) or not isinstance(image, int | float):
        return node
    return f"{node}: {fixed * 1e3:.3g} ms a step and {image * 1e3:.3g} ms an image"


def _is_nested(value: Any) -> bool:
    return isinstance(value, Sequence) and any(isinstance(item, Mapping | list | tuple) for item in values(value))


def _runtime(runtime: Mapping[str, Any]) -> str:
    return _joined(*(f"{name} {runtime[name]}" for name in ("mxnet", "numpy", "python") if runtime.get(name)))


def _counted(items: Iterable[str]) -> str:
    """`4 x aarch64, 4 cores; 1 x x86_64, 2 cores`."""
    counts = Counter(item for item in items if item)
    return "; ".join(f"{count} × {item}" for item, count in counts.items())  # noqa: RUF001 - a multiplication sign


def _unit(value: Any, unit: str) -> str:
    return "" if value is None else f"{value} {unit}"


def _joined(*parts: Any) -> str:
    return ", ".join(shown for part in parts if (shown := _text(part)))


def _text(value: Any) -> str:
    return "" if value is None else str(value)
