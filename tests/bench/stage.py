"""Where the measurements are made: a virtual cluster of their own, the harness and the playbooks as a user calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EXIT_OK, EXIT_TRIALS_FAILED
from harness.paths import ANSIBLE, REPOSITORY

SUBNET = "10.91.0.0/24"
LINK = "100mbit"
PROFILE = "pi3"
_COMMAND_SECONDS = 4 * 3600
_END_SECONDS = 30
EXIT_TERMINATED = 143
_CHANGED = re.compile(r"\bchanged=(\d+)")


class BenchError(Exception):
    """A step failed; the message says which, and ends with what it printed."""


def settings(**values: object) -> list[str]:
    """Parameters as words of `harness sweep`."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@dataclass(frozen=True)
class Done:
    """A command that ended well."""

    output: str
    began: float
    """Unix time just before it was started."""
    seconds: float

    @property
    def changed(self) -> int:
        """Of a playbook: the hosts' `changed`, summed."""
        return sum(int(count) for count in _CHANGED.findall(self.output))


@dataclass(frozen=True)
class Stage:
    """What all parts share."""

    nodes: int
    repeats: int
    quick: bool
    output: Path
    torch_wheel: Path | None
    cluster: str = "bench"
    """Name of the virtual cluster."""
    dilation: float = 3.0
    """Of time, where all nodes train at once: see docs/how-to/bench.md."""

    @property
    def inventory(self) -> Path:
        """The cluster's inventory; it must be up."""
        return Path(self.harness("cluster", "inventory", "--name", self.cluster).output.splitlines()[-1])

    def up(self, nodes: int, *, dilation: float = 1.0, profile: str = PROFILE, others: Sequence[str] = ()) -> Done:
        """Bring the cluster up, or to these and `others` options; it comes back when every node answers SSH."""
        return self.harness(
            *("cluster", "up", "--name", self.cluster, "--nodes", str(nodes), "--dilation", f"{dilation:g}"),
            *("--link", LINK, "--profile", profile, "--subnet", SUBNET, *others),
        )

    def down(self) -> None:
        """Remove the cluster."""
        self.harness("cluster", "down", "--name", self.cluster)

    def harness(self, *arguments: str | Path, good: Collection[int] = (0,)) -> Done:
        """Run a verb of the harness."""
        return self.run(sys.executable, "-m", "harness", *map(str, arguments), good=good)

    def playbook(self, extra: Mapping[str, object] | None = None) -> Done:
        """Run site.yml on the cluster, with extra variables."""
        command = [str(Path(sys.executable).parent / "ansible-playbook"), str(ANSIBLE / "playbooks" / "site.yml")]
        command += ["-e", json.dumps(extra)] if extra else []
        return self.harness("cluster", "exec", "--name", self.cluster, "--", *command)

    def sweep(
        self,
        experiment: Path,
        *arguments: str,
        into: str = "runs",
        good: Collection[int] = (EXIT_OK, EXIT_TRIALS_FAILED),
    ) -> tuple[Path, Done]:
        """Run an experiment on the cluster; its run directory. Trials that fail are in it, with the reason."""
        results = self.output / into
        latest = results / experiment.stem / "latest"
        before = latest.resolve()
        done = self.harness(
            *("sweep", short(experiment), "-i", self.inventory, "-o", short(results), "--start-timeout", "400", "-q"),
            *arguments,
            good=good,
        )
        if latest.resolve() == before and "--resume" not in arguments:
            raise BenchError(f"sweep of {experiment.stem} left no run directory\n{done.output[-500:]}")
        return latest.resolve(), done

    def run(self, *command: str, good: Collection[int] = (0,)) -> Done:
        """Run a command to its end, its output kept in the log. Raises BenchError for an exit code that is not `good`."""
        shown = " ".join(Path(word).name if word.startswith("/") else word for word in command)
        print(f"  {shown}"[:160], file=sys.stderr, flush=True)
        began, start = time.time(), time.monotonic()
        try:
            code, output = _run(command)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{shown}: did not end within {_COMMAND_SECONDS} s") from None
        seconds = time.monotonic() - start
        with (self.output / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{output}\n[{seconds:.1f} s, exit {code}]\n\n")
        if code not in good:
            raise BenchError(f"{shown}: exit code {code}\n" + "\n".join(output.splitlines()[-15:]))
        return Done(output, began, seconds)


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of a command. Whatever ends the wait for it, it is asked to end, so that it can clean up."""
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_COMMAND_SECONDS)
        except BaseException:
            process.terminate()
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        return process.returncode, output


def short(path: Path) -> Path:
    """As a user in the repository's directory would write it: it is kept in the run's manifest."""
    return path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
