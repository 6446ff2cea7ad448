"""A board at its first boot: apt at work, a clock that nobody has set. Only the tasks that it concerns run, on this machine.

apt works on a directory of the test's own; `date` and `timedatectl` are programs of the test's, for one clock has one machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playbooks import Played, play

from harness.paths import REPOSITORY

LOCAL = REPOSITORY / "inventory" / "local"
HOUR = 3600
TASKS = """
- hosts: local-1
  gather_facts: false
  environment: ENVIRONMENT
  vars: {node_state: STATE}
  tasks:
    - ansible.builtin.import_role: {name: base, tasks_from: TASKS}
"""
CLOCK = """
- hosts: local-1
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: node, tasks_from: read}
    - node_state: {root: /nowhere, marker: none, controller_time: "{{ now().timestamp() + item.more }}"}
      environment: {PATH: "{{ item.path }}"}
      register: found
      loop: CASES
    - ansible.builtin.debug: {msg: "off={{ found.results | map(attribute='clock_off_seconds') | join(',') }};"}
"""


def played(directory: Path, text: str, environment: dict[str, str], *arguments: str, **words: Any) -> Played:
    """Run a playbook with these words in it."""
    for word, value in {"ENVIRONMENT": environment, **words}.items():
        text = text.replace(word, value if isinstance(value, str) else json.dumps(value))
    playbook = directory / "play.yml"
    playbook.write_text(text, encoding="utf-8")
    return play(str(playbook), LOCAL, *arguments)


def stub(directory: Path, name: str, script: str) -> dict[str, str]:
    """The environment in which a program is this script."""
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def said(played: Played) -> str:
    return " ".join(played.output.split())


def test_a_node_says_how_far_a_clock_is_off_that_nobody_has_set(tmp_path: Path) -> None:
    expected = [(2 * HOUR, "no", -2 * HOUR), (-HOUR, "no", HOUR), (HOUR, "yes", 0), (9, "no", 0)]
    paths = {}
    for word in ("yes", "no"):
        (tmp_path / word).mkdir()
        paths[word] = stub(tmp_path / word, "timedatectl", f"echo {word}")["PATH"]
    cases = [{"more": more, "path": paths[synchronised]} for more, synchronised, _ in expected]
    found = played(tmp_path, CLOCK, {}, CASES=cases)
    assert found.returncode == 0, found.output
    (told,) = re.findall(r"off=([-0-9,]+);", found.output)
    assert [abs(int(each) - off) <= 30 for each, (_, _, off) in zip(told.split(","), expected, strict=True)] == [
        True
    ] * 4


def set_clock(directory: Path, script: str, *arguments: str, **state: Any) -> Played:
    state = {"container": False, "clock_off_seconds": -HOUR, **state}
    return played(directory, TASKS, stub(directory, "date", script), *arguments, TASKS="clock", STATE=state)


def test_a_clock_that_nobody_has_set_is_set_as_the_controllers(tmp_path: Path) -> None:
    done = set_clock(tmp_path, f'echo "$@" > {tmp_path}/asked')
    assert (done.returncode, done.total("changed")) == (0, 1), done.output
    utc, given = (tmp_path / "asked").read_text(encoding="utf-8").split()
    assert utc == "--utc"
    assert abs(int(given.removeprefix("--set=@")) - time.time()) < 60


@pytest.mark.parametrize(("state", "arguments"), [({"container": True}, []), ({}, ["--check"])])
def test_a_hosts_clock_and_any_in_a_rehearsal_is_left_alone(
    tmp_path: Path, state: dict[str, Any], arguments: list[str]
) -> None:
    done = set_clock(tmp_path, f"touch {tmp_path}/asked", *arguments, **state)
    assert (done.returncode, done.total("changed")) == (0, 0), done.output
    assert not (tmp_path / "asked").exists()


def test_a_clock_that_cannot_be_set_is_told(tmp_path: Path) -> None:
    done = set_clock(tmp_path, "echo cannot set date: Operation not permitted >&2; exit 1")
    assert done.returncode != 0
    assert "local-1: its clock is off by -3600 s and cannot be set: cannot set date: Operation not permitted" in said(
        done
    )
    assert "Try: a time server that it reaches (base_ntp_servers)" in said(done)


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """A system for apt, in which no package is installed."""
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt-get")
    for name in ("dpkg/updates", "state/lists/partial", "cache/archives/partial"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt" / "dpkg" / "status").touch()
    (tmp_path / "apt" / "config").write_text(
        "".join(
            f'{name} "{tmp_path}/apt/{path}";\n'
            for name, path in {
                "Dir::State::status": "dpkg/status",
                "Dir::State": "state",
                "Dir::Cache": "cache",
            }.items()
        ),
        encoding="utf-8",
    )
    return tmp_path / "apt"


def wait_for_apt(apt: Path, seconds: int) -> Played:
    timer = {"load": "loaded", "active": "active", "file": "enabled"}
    state = {"packages_missing": [], "units": {"apt-daily.timer": timer}, "container": False}
    return played(
        apt.parent, TASKS, {"APT_CONFIG": str(apt / "config")}, "-e", f"base_apt_wait_seconds={seconds}",
        TASKS="apt", STATE=state,
    )  # fmt: skip


@contextmanager
def upgrading(apt: Path) -> Iterator[None]:
    """Holds the lock that an upgrade holds."""
    with (apt / "dpkg" / "lock-frontend").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def test_an_upgrade_is_waited_for(apt: Path) -> None:
    began = time.monotonic()
    free_after = 5.0
    with upgrading(apt):
        found: list[Played] = []
        waiting = threading.Thread(target=lambda: found.append(wait_for_apt(apt, 60)))
        waiting.start()
        time.sleep(free_after)
        assert waiting.is_alive()
    waiting.join(60)
    assert (found[0].returncode, found[0].total("changed")) == (0, 0), found[0].output
    assert time.monotonic() - began > free_after


def test_an_upgrade_that_does_not_end_and_one_that_was_cut_short_are_told(apt: Path) -> None:
    with upgrading(apt):
        late = wait_for_apt(apt, 1)
    assert late.returncode != 0
    assert "local-1: apt cannot be used (waited for 1 s at most)" in said(late)
    assert f"It is held by process {os.getpid()}" in said(late)
    (apt / "dpkg" / "updates" / "0000").touch()
    cut = wait_for_apt(apt, 1)
    assert cut.returncode != 0
    assert "dpkg was interrupted" in said(cut)
    assert "Try: again once the node's first boot or its upgrade has ended" in said(cut)
