"""What nodes, programs, paths and users say is shown as it is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from launch_parts import trial
from rich.console import Console
from rich.table import Table

from harness.check.findings import Finding
from harness.cli.nodes import check as check_verb
from harness.cli.nodes import status as status_verb
from harness.console import PlainConsole, print_error
from harness.errors import HarnessError
from harness.launch.launcher import Failure, Outcome
from harness.paths import REPOSITORY
from harness.sweep.progress import Progress

ODD = "no file [/etc/motd] [red]:smile: \x1b]0;title\x07 [link=x]"
SHOWN = "no file [/etc/motd] [red]:smile: ?]0;title? [link=x]"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the verbs print."""
    file = io.StringIO()
    console = PlainConsole(file=file, width=200)
    for module in ("harness.console", "harness.cli.nodes.check", "harness.cli.nodes.status"):
        for name in ("out", "err"):
            if hasattr(sys.modules[module], name):
                monkeypatch.setattr(f"{module}.{name}", console)
    return file


def test_errors_findings_and_tables_are_shown_as_they_are(shown: io.StringIO) -> None:
    print_error(HarnessError(ODD, ODD))
    check_verb._print_findings([Finding(ODD, ODD, "failed", ODD, ODD)])
    status_verb.out.print(
        status_verb._table([{"node": ODD, "held": None, "running": [ODD], "error": ODD, "left_bytes": 1}])
    )
    lines = shown.getvalue()
    assert lines.count(SHOWN) == 2 + 4 + 3
    assert "\x1b" not in lines


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sweep_shows_a_programs_words_as_they_are(terminal: bool) -> None:
    file = io.StringIO()
    point = trial(1)
    outcome = Outcome("failed", datetime.now(UTC), Failure("worker0", "a", ODD, (ODD,)), warnings=[ODD])
    with Progress(
        Console(file=file, width=200, force_terminal=terminal, color_system=None), [point], warnings=[ODD]
    ) as progress:
        progress.begin(point, 2)
        progress.end(point, outcome, {})
    assert file.getvalue().count(SHOWN) == 4


def test_a_table_of_texts_with_styles_keeps_its_colours() -> None:
    file = io.StringIO()
    table = Table("a")
    table.add_row("[b]x")
    PlainConsole(file=file, force_terminal=True, color_system="standard").print(table, style="red")
    assert "[b]x" in file.getvalue()
    assert "\x1b[31m" in file.getvalue()


def test_no_module_prints_past_the_plain_consoles() -> None:
    makers = [
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "harness").rglob("*.py")
        if "Console(" in path.read_text(encoding="utf-8") and "images" not in path.parts
    ]
    assert makers == ["harness/console.py"]


def test_paths_with_brackets_and_bytes_that_are_no_text_are_no_obstacle(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path / "inv[") + b"\xff" + b"]"
    Path(os.fsdecode(directory)).mkdir()
    hosts = {"a": {"ansible_host": "127.0.0.1", "ansible_connection": "local", "node_root": f"{tmp_path}/[/root]"}}
    Path(os.fsdecode(directory + b"/hosts.json")).write_text(json.dumps({"nodes": {"hosts": hosts}}))
    command: list[str | bytes] = [sys.executable, "-m", "harness.cli.app", "plan", "quickstart", "-i", directory]
    done = subprocess.run(command, capture_output=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, b"inv[\\udcff]" in done.stdout) == (0, True), done.stderr
