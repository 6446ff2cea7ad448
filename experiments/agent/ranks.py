"""Start and stop the ranks of a trial, and remove what they left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from contract import wire

from .connection import RefusedError, SudoRefusedError
from .files import LEASE, Json, matching, read_json, remove, write_json
from .hold import holder
from .keeper import TERM_GRACE_SECONDS, reserve
from .processes import (
    COMMAND_TIMEOUT_SECONDS,
    keeper_pid,
    kill_all,
    left_processes,
    marked_processes,
    run_as_root,
    run_command,
    signal_process,
    sudo,
    sudo_input,
    sudo_refusal,
)
from .receive import make_private

LONGEST_UNIT_NAME = 200
KILL_SECONDS = 5.0


def unit_name(run: str, trial: str, rank: str) -> str:
    """The systemd unit of a rank; a long trial id gives way to its hash, since a unit's name has an end."""
    if len(run) + len(trial) > LONGEST_UNIT_NAME:
        trial = hashlib.sha256(trial.encode()).hexdigest()[:16]
    return f"harness-{run}-{trial}-{rank}.service"


def trial_directory(request: Json) -> Path:
    """Where the ranks of a trial on this node have their directories."""
    return Path(request["root"], wire.TRIALS_DIRECTORY, request["run"], request["trial"], request["node"])


def stop_file(request: Json) -> Path:
    """Is there once this attempt at a trial was stopped: a start that comes late must not bring it back."""
    return Path(
        request["root"], wire.TRIALS_DIRECTORY, request["run"], f".stopped-{request['node']}-{request.get('attempt')}"
    )


def make_room(request: Json) -> None:
    """Stop and remove what earlier trials of this run left here; raises RefusedError where another run has the node.

    Nothing, where ranks are to start `beside` those that run: one that takes another's place.
    """
    if request.get("beside"):
        return
    trials = Path(request["root"], wire.TRIALS_DIRECTORY)
    for path in living(matching(trials, f"*/*/{request['node']}/*/spec.json")):
        if path.parents[2].name != request["run"]:
            raise RefusedError(f"the node is held by run {path.parents[2].name}")
    run = trials / request["run"]
    earlier = matching(run, f"*/{request['node']}")
    if any(living(matching(path, "*/spec.json")) for path in earlier):
        stop({**request, "trial": None, "attempt": None})
    for path in earlier:
        remove(path)  # whoever followed that trial may be at it too
    for path in matching(run, f".stopped-{request['node']}-*"):
        if path != stop_file(request):
            path.unlink(missing_ok=True)


def living(specs: Iterable[Path]) -> list[Path]:
    """The directories of ranks of which a process lives, of the paths of their specs."""
    return [spec.parent for spec in specs if left_processes(spec.parent)]


def refuse_strangers(request: Json) -> None:
    """Raise RefusedError where another run holds this node: a harness that lost its hold may not know it yet."""
    other = holder(request)
    if other and other.get("run") != request["run"]:
        raise RefusedError(f"is held by run {other.get('run')} ({other.get('harness')})")


def start(request: Json, files: dict[str, bytes] | None = None) -> Json:
    """Start the ranks of `request["ranks"]` on this node; replies with the ones that could not be started.

    `files` are what ranks begin with, by rank. Raises RefusedError where the node is another run's.
    """
    refuse_strangers(request)
    make_room(request)
    base = trial_directory(request)
    make_private(Path(request["root"], wire.TRIALS_DIRECTORY))
    base.mkdir(parents=True)
    (base / LEASE).touch()
    keepers = {rank["name"]: start_keeper(request, rank, base / rank["name"], files or {}) for rank in request["ranks"]}
    # A keeper that is a process of ours says by its file that it runs, and a unit's says so by systemd.
    failed = refusals(keepers) if request["supervisor"] == wire.SUPERVISOR_SYSTEMD else {}
    return {"failed": failed}


def start_keeper(request: Json, rank: Json, directory: Path, files: dict[str, bytes]) -> subprocess.Popen[str]:
    """Make a rank's directory, and start its keeper or what makes it a unit."""
    directory.mkdir()
    spec = {key: request.get(key) for key in ("lease_seconds", "time_limit_seconds", "output_limit_bytes", "directory")}
    own = {key: rank.get(key) for key in ("command", "environment", "says_ready")}
    own["stop_file"] = str(stop_file(request))
    write_json(directory / "spec.json", {**spec, **own}, 0o600)
    reserve(directory)
    if rank["name"] in files:
        (directory / request["resume"]["file"]).write_bytes(files[rank["name"]])
    with sudo_input(request) as stdin:
        return subprocess.Popen(
            keeper_command(request, rank["name"], directory),
            # The keeper must not hold the pipes of this connection open.
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if request["supervisor"] == wire.SUPERVISOR_SYSTEMD else subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )


def refusals(units: dict[str, subprocess.Popen[str]]) -> dict[str, str]:
    """Of the ranks whose unit systemd did not start: what it said."""
    failed = {}
    for name, process in units.items():
        try:
            _, error = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            error = f"systemd-run did not answer within {COMMAND_TIMEOUT_SECONDS:.0f} s"
        if process.returncode != 0:
            failed[name] = error.strip()
    return failed


def keeper_command(request: Json, rank: str, directory: Path) -> list[str]:
    """The command that starts a rank's keeper, as a transient unit or as a plain process."""
    keeper = [sys.executable, "-I", "-S", str(Path(__file__).resolve().parent), wire.KEEP, str(directory)]
    if request["supervisor"] == wire.SUPERVISOR_PROCESS:
        return keeper
    unit = unit_name(request["run"], request["trial"], rank)
    properties = [
        "--property=KillMode=mixed",
        f"--property=TimeoutStopSec={2 * TERM_GRACE_SECONDS + 1:.0f}",
        "--property=OOMPolicy=continue",
        "--property=LimitNOFILE=65536",
        # A keeper that was stopped or hangs ends no rank when its lease has run out; systemd does.
        f"--property=WatchdogSec={request['lease_seconds']:.0f}",
        "--property=WatchdogSignal=SIGKILL",
        "--property=NotifyAccess=main",
        f"--property=WorkingDirectory={directory}",
    ]
    return sudo(
        request,
        [
            "systemd-run",
            "--quiet",
            "--no-ask-password",
            "--collect",
            f"--unit={unit}",
            f"--uid={os.getuid()}",
            *properties,
            "--",
            *keeper,
        ],
    )


def stop(request: Json) -> Json:
    """Stop the ranks of a trial, a run, or every run on this node; replies with what was stopped and what is left.

    Raises SudoRefusedError where there are units, and sudo does not let this user stop them.
    """
    root = Path(request["root"]) / wire.TRIALS_DIRECTORY
    run, trial = request.get("run") or "*", request.get("trial") or "*"
    if request.get("attempt"):
        with contextlib.suppress(OSError):
            stop_file(request).parent.mkdir(parents=True, exist_ok=True)
            stop_file(request).touch()
    # Every run of this node or, where the whole node is cleaned, of those that share its machine.
    node = request["node"] if request.get("run") else "*"
    directories = [path.parent for path in matching(root, f"{run}/{trial}/{node}/*/spec.json")]
    alive = living(path / "spec.json" for path in directories)
    units: list[str] = []
    refusal = None
    if request["supervisor"] == wire.SUPERVISOR_SYSTEMD:
        glob = unit_name(run, trial, "*") if request.get("run") else "harness-*.service"
        listed = run_command(["systemctl", "list-units", "--plain", "--no-legend", "--all", glob])
        units = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
        if units:
            if run_as_root(request, ["systemctl", "stop", *units]).returncode != 0:
                refusal = sudo_refusal(request)
            if refusal is None:
                run_as_root(request, ["systemctl", "reset-failed", *units])
    else:
        stop_keepers(alive)
    if request.get("token"):  # also of ranks that removed their directories
        marks = {wire.TRIAL_TOKEN: request["token"], wire.NODE: request["node"]}
        kill_all(lambda: marked_processes(marks), KILL_SECONDS)
    if refusal:
        raise SudoRefusedError(refusal)
    left = [describe(path) for path in alive if left_processes(path)]
    return {"stopped": sorted(describe(path) for path in alive) or units, "left": left}


def stop_keepers(directories: list[Path]) -> None:
    """Have the keepers of ranks end them; kill what does not obey, and what a killed keeper left."""
    for pid in filter(None, map(keeper_pid, directories)):
        signal_process(pid, signal.SIGTERM)
    wait_for_end(directories, 2 * TERM_GRACE_SECONDS + 1 if any(map(keeper_pid, directories)) else 0)
    for path in directories:
        kill_all(lambda: left_processes(path), KILL_SECONDS)  # noqa: B023 - called at once


def wait_for_end(directories: list[Path], seconds: float) -> None:
    """Wait until no process of these ranks is left, at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(left_processes(path) for path in directories):
        time.sleep(0.05)


def describe(directory: Path) -> str:
    """A rank's directory as `<run>/<trial>/<rank>`."""
    return f"{directory.parents[2].name}/{directory.parents[1].name}/{directory.name}"


def forget(request: Json) -> None:
    """Remove a trial's directory: the harness has collected all of it.

    Nothing is removed while a rank lives, or where the trial was started again meanwhile.
    """
    base = trial_directory(request)
    specs = matching(base, "*/spec.json")
    if any((read_json(spec) or {}).get("stop_file") != str(stop_file(request)) for spec in specs):
        return
    directories = [spec.parent for spec in specs]
    wait_for_end(directories, TERM_GRACE_SECONDS)  # a keeper that wrote its last word may still be on its way out
    if not any(map(left_processes, directories)):
        shutil.rmtree(base, ignore_errors=True)
        with contextlib.suppress(OSError):
            base.parent.rmdir()


def clean(request: Json) -> Json:
    """Stop all that any run left on this node, and remove what runs left on its disk, other sweeps' code included."""
    if not request.get("force"):
        refuse_strangers({**request, "run": None})
    result = stop({**request, "run": None, "trial": None, "attempt": None})
    root = Path(request["root"])
    freed = 0
    sent = sorted(matching(root / wire.CODE_DIRECTORY, "*"))
    for directory in [root / wire.TRIALS_DIRECTORY, root / wire.JOBS_DIRECTORY, *sent]:
        if directory.name == request.get("keep_code") or not directory.exists():
            continue
        freed += remove(directory)
    return {**result, "freed_bytes": freed}
