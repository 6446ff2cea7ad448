"""A node of its own, and the agent's verbs as the harness calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent import files, processes
from agent.ranks import start

AGENT = Path(files.__file__).parent


class Bench:
    """A node of its own, and the verbs as the harness calls them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = {"root": str(root), "node": "a", "supervisor": "process", "run": "R", "trial": "t"}

    def request(self, command: list[str], **values: Any) -> dict[str, Any]:
        rank = {"name": "worker0", "command": command, "environment": {"SECRET": "hush"}}
        limits = {"lease_seconds": 20.0, "time_limit_seconds": None, "attempt": "1", "telemetry_seconds": 0}
        return {**self.base, **limits, "ranks": [rank], **values}

    def ask(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(AGENT), verb],
            input=json.dumps(request) + "\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return answer

    def start(self, *command: str, **values: Any) -> dict[str, Any]:
        return start(self.request(list(command), **values))

    @property
    def directory(self) -> Path:
        return self.root / "trials" / "R" / "t" / "a" / "worker0"

    def exit_state(self, limit: float = 15) -> dict[str, Any]:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            state = files.read_json(self.directory / "exit.json")
            if state:
                return state
            time.sleep(0.05)
        raise AssertionError("no exit state")

    def wait_for_keeper(self) -> int:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            pid = processes.keeper_pid(self.directory)
            if pid and processes.descendants(pid):
                return pid
            time.sleep(0.05)
        raise AssertionError("no keeper")
