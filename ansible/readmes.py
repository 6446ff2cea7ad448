"""Writes the README.md of every role from its argument specification, its defaults and the playbooks.

python ansible/readmes.py            writes them
python ansible/readmes.py --check    says which are not as they would be written; exit status 1 if any is
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROLES, PLAYBOOKS = HERE / "roles", HERE / "playbooks"
LONGEST_DEFAULT = 60
HEADER = "<!-- Written by ansible/readmes.py from meta/argument_specs.yml; changes are overwritten. -->"


def read(path: Path) -> Any:
    """Content of a YAML file; an empty mapping where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}


def text(words: str | list[str]) -> str:
    """Paragraphs of a description, with Ansible's C(code) as Markdown's."""
    paragraphs = [words] if isinstance(words, str) else words
    return "\n\n".join(re.sub(r"\bC\(([^)]*)\)", r"`\1`", " ".join(paragraph.split())) for paragraph in paragraphs)


def code(value: Any) -> str:
    """A value as YAML in one line."""
    if value == "":
        return '`""`'
    flow = (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        .strip()
        .removesuffix("...")
        .strip()
    )
    return f"`{flow}`"


def shown_default(name: str, option: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The default's cell of a table: the value where it is short, else where it is to be found."""
    if option.get("required"):
        return "required"
    if "default" not in option and name not in defaults:
        return ""
    value = option.get("default", defaults.get(name))
    if isinstance(value, str) and "{{" in value:
        return "[computed](defaults/main.yml)"
    shown = code(value)
    return shown if len(shown) <= LONGEST_DEFAULT else "[listed](defaults/main.yml)"


def variables(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of variables; those inside a variable follow it."""
    yield "| Variable | Type | Default | Meaning |"
    yield "| --- | --- | --- | --- |"
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        choices = f" One of {', '.join(code(choice) for choice in option['choices'])}." if "choices" in option else ""
        cells = [f"`{name}`", kind, shown_default(name, option, defaults), text(option["description"]) + choices]
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
        for inner, part in option.get("options", {}).items():
            default = shown_default(inner, part, {})
            yield f"| `{name}[].{inner}` | {part['type']} | {default} | {text(part['description'])} |"


def entries_of(role: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every playbook that has the role in its list, with the role's entry there."""
    for path in sorted(PLAYBOOKS.glob("*.yml"), key=lambda path: (path.name != "site.yml", path.name)):
        for play in read(path):
            for entry in play.get("roles", []):
                if entry["role"] == role and entry.get("tags") != "never":
                    yield path.name, {"hosts": play["hosts"], **entry}


def tags(role: str) -> Iterator[str]:
    """What runs this role alone."""
    if not (ROLES / role / "tasks").is_dir():
        yield "None: the role has no tasks."
        return
    found = [
        (playbook, entry)
        for playbook, entry in entries_of(role)
        if role in (entry.get("tags"), *list(entry.get("tags") or []))
    ]
    always = any("always" in (entry.get("tags") or []) for _, entry in found)
    if not found:
        yield "No tag: the role is run whatever `--tags` says."
        return
    yield f"`{role}`" + (", and it is run with every other tag too:" if always else ":")
    yield ""
    yield "```sh"
    for playbook, _ in found:
        yield f"harness provision {playbook.removesuffix('.yml')} -i INVENTORY --tags {role}"
    yield "```"


def example(role: str, specification: Mapping[str, Any]) -> Iterator[str]:
    """Variables as an inventory sets them, and the role in a play."""
    if "examples" in specification:
        yield from ["```yaml", specification["examples"].rstrip(), "```", ""]
    for playbook, entry in list(entries_of(role))[:1]:
        yield f"In `ansible/playbooks/{playbook}`:"
        play = {"hosts": entry["hosts"], "roles": [{k: v for k, v in entry.items() if k != "hosts"}]}
        yield from ["", "```yaml", yaml.safe_dump([play], sort_keys=False, width=120).rstrip(), "```"]


def readme(role: str) -> str:
    """The text of a role's README.md."""
    specifications = read(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]
    defaults = read(ROLES / role / "defaults" / "main.yml")
    main = specifications["main"]
    lines = [HEADER, "", f"# Role `{role}`", "", f"{text(main['short_description'])}.", ""]
    if "description" in main:
        lines += [text(main["description"]), ""]
    lines += ["## Variables", ""]
    for name, specification in specifications.items():
        # An entry point that takes what `main` takes has nothing to add.
        if specification.get("options") and (name == "main" or specification["options"] != main.get("options")):
            lines += [] if name == "main" else [f"### {text(specification['short_description'])}", ""]
            lines += [*variables(specification["options"], defaults), ""]
    if not any(specification.get("options") for specification in specifications.values()):
        lines += ["None.", ""]
    lines += ["## Tags", "", *tags(role), "", "## Example", "", *example(role, main)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the READMEs, or compare them."""
    written = {ROLES / path.name / "README.md": readme(path.name) for path in sorted(ROLES.iterdir()) if path.is_dir()}
    stale = [
        path for path, content in written.items() if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path} is not what meta/argument_specs.yml says. Try: python ansible/readmes.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(written[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
