"""What a crate says of software, boards and trials: entities of RO-Crate's vocabulary, schema.org. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from harness.analysis.facts import values
from harness.contract.json_line import mapping
from harness.export.contents import Contents
from harness.export.trials import Trial
from harness.results.rows import timestamp_at

Entity = dict[str, Any]

_RUNTIMES = ("python", "mxnet", "torch", "numpy")
_STATUS = {True: "http://schema.org/FailedActionStatus", False: "http://schema.org/CompletedActionStatus"}


def part(name: str) -> str:
    """A name as a part of an id."""
    return quote(name, safe="", errors="replace")


def ref(identifier: str) -> dict[str, str]:
    """A reference to an entity."""
    return {"@id": identifier}


def software_entities(manifest: Mapping[str, Any]) -> Iterator[Entity]:
    """The harness with the libraries that it ran with, the experiment's programs, and what the nodes ran them with."""
    versions = {str(name): str(value) for name, value in mapping(manifest.get("versions")).items()}
    libraries = {f"#library/{part(name)}": (name, value) for name, value in versions.items() if name != "harness"}
    runtimes = {f"#runtime/{name}/{part(value)}": (name, value) for name, value in _runtimes(manifest)}
    for identifier, (name, version) in {**libraries, **runtimes}.items():
        yield _software(identifier, name, version)
    git = mapping(manifest.get("git"))
    own = _software("#harness", "pi-kvstore-harness", versions.get("harness", "not known"))
    yield {
        **own,
        "softwareRequirements": [ref(each) for each in libraries],
        **({"identifier": str(git["revision"])} if git.get("revision") else {}),
    }
    for name in _programs(manifest):
        about = mapping(mapping(manifest.get("programs")).get(name))
        program = _software(program_id(name), name, str(manifest.get("code_sha256") or "not known"))
        yield {
            **program,
            "description": str(about.get("description") or name),
            "softwareRequirements": [ref(each) for each in runtimes],
        }


def program_id(name: str) -> str:
    """The id of a program's entity."""
    return f"#program/{part(name)}"


def board_entities(manifest: Mapping[str, Any]) -> Iterator[Entity]:
    """The nodes, each once."""
    kind = str(mapping(manifest.get("cluster")).get("kind") or "unknown")
    for name, node in _nodes(manifest).items():
        parts = [f"{kind} node", str(node.get("machine") or ""), f"{node['cores']} cores" if node.get("cores") else ""]
        runtime = mapping(node.get("runtime"))
        parts += [f"{each} {runtime[each]}" for each in _RUNTIMES if runtime.get(each)]
        yield {
            "@id": board_id(name),
            "@type": "IndividualProduct",
            "name": name,
            "description": ", ".join(each for each in parts if each),
        }


def board_id(name: str) -> str:
    """The id of a node's entity."""
    return f"#node/{part(name)}"


def trial_entities(trial: Trial) -> Iterator[Entity]:
    """A trial's settings."""
    for name, value in trial.settings.items():
        yield {"@id": _setting_id(trial, name), "@type": "PropertyValue", "name": name, "value": value}


def trial_action(run: Contents, trial: Trial, files: Sequence[str]) -> Entity:
    """A trial: its program and its nodes, with its settings, made its files, from when to when."""
    variants = mapping(mapping(run.manifest.get("experiment")).get("variants"))
    programs = _programs(run.manifest)
    said = str(mapping(variants.get(str(trial.settings.get("variant")))).get("program"))
    program = said if said in programs else programs[0]
    known = _nodes(run.manifest)
    failed = trial.status == "failed"
    doubt = {"description": f"suspect: {trial.texts.get('suspect_because', '')}"} if trial.status == "suspect" else {}
    return {
        "@id": f"#trial/{part(trial.id)}",
        "@type": "CreateAction",
        "name": f"Trial {trial.id}",
        **doubt,
        "instrument": [ref(program_id(program)), *(ref(board_id(name)) for name in trial.nodes if name in known)],
        "object": [ref(_setting_id(trial, name)) for name in trial.settings],
        "result": [ref(file) for file in files],
        "startTime": timestamp_at(trial.began),
        "endTime": timestamp_at(trial.ended),
        "actionStatus": _STATUS[failed],
        **({"error": trial.texts.get("failure", "not known")} if failed else {}),
    }


def _setting_id(trial: Trial, name: str) -> str:
    return f"#trial/{part(trial.id)}/{part(name)}"


def _software(identifier: str, name: str, version: str) -> Entity:
    return {"@id": identifier, "@type": "SoftwareApplication", "name": name, "softwareVersion": version}


def _programs(manifest: Mapping[str, Any]) -> list[str]:
    """The experiment's programs, its own first."""
    own = str(mapping(manifest.get("experiment")).get("program") or "not known")
    return list(dict.fromkeys([own, *map(str, mapping(manifest.get("programs")))]))


def _nodes(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the manifest says of the nodes, by name."""
    nodes = [mapping(node) for node in values(mapping(manifest.get("cluster")).get("nodes"))]
    return {str(node["name"]): node for node in nodes if node.get("name")}


def _runtimes(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and versions of what the nodes run programs with, each once."""
    said = [mapping(node.get("runtime")) for node in _nodes(manifest).values()]
    return list(
        dict.fromkeys((name, str(runtime[name])) for runtime in said for name in _RUNTIMES if runtime.get(name))
    )
