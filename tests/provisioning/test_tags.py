"""A role's name is its tag: it runs that role, what the role needs, and nothing else of weight; without a node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from playbooks import play

from harness.paths import ANSIBLE, REPOSITORY

LOCAL = REPOSITORY / "inventory" / "local"
SITE = yaml.safe_load((ANSIBLE / "playbooks" / "site.yml").read_text(encoding="utf-8"))
ROLES = [entry["role"] for entry in SITE[1]["roles"]]
# Reading the state and looking at what came of it is what every role needs.
ALWAYS = {"validate_inventory", "node", "verify"}


def roles_run(playbook: str, tag: str) -> set[str]:
    """The roles that have tasks to run with a tag; the check of a role's arguments is none of the role's tasks."""
    played = play(playbook, LOCAL, "--list-tasks", "--tags", tag)
    assert played.returncode == 0, played.output
    tasks = re.findall(r"^ +(\w+) : (.*?)\tTAGS:", played.output, re.MULTILINE)
    return {role for role, task in tasks if not task.startswith("Validating arguments")}


@pytest.mark.parametrize("role", ROLES)
def test_tag_runs_its_role_and_what_the_role_needs(role: str) -> None:
    assert roles_run("site.yml", role) - {"dataset"} == (ALWAYS | {role}) - {"dataset"}
    assert (
        "dataset : Put the data sets on the node" in play("site.yml", LOCAL, "--list-tasks", "--tags", role).output
    ) == (role == "dataset")


def test_every_role_of_the_playbook_is_a_tag_that_validation_knows() -> None:
    assert SITE[0]["roles"][0]["validate_inventory_tags"] == ROLES


@pytest.mark.parametrize("playbook", ["site.yml", "check.yml", "reset.yml"])
@pytest.mark.parametrize("option", ["--tags", "--skip-tags"])
def test_unknown_tag_is_told(playbook: str, option: str) -> None:
    played = play(playbook, LOCAL, "--check", option, "frewall")
    said = " ".join(played.output.split())
    assert played.returncode != 0
    assert "no part of this playbook has the tag frewall. Try: " in said
    assert "firewall" in said.split("Try: ")[1]
    assert played.output.count("PLAY [") == 1


def test_tag_leaves_the_other_roles_undone(tmp_path: Path) -> None:
    root = tmp_path / "harness"
    played = play("site.yml", LOCAL, "-e", f"node_root={root}", "--tags", "node")
    assert played.returncode == 0, played.output
    assert [path.name for path in root.iterdir()] == [".harness-node"]


def test_check_tells_what_the_tagged_role_misses_and_nothing_else(tmp_path: Path) -> None:
    where = ("-e", f"node_root={tmp_path}/harness", "-e", '{"dataset_names": ["mnist"]}')
    said = play("check.yml", LOCAL, *where, "--tags", "dataset").output
    assert "data set mnist" in said
    assert "there is no runtime" not in said
    assert "there is no runtime" in play("check.yml", LOCAL, *where, "--tags", "runtime").output
