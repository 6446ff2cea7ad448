"""`harness launch` of any program on nodes that are this machine."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from harness.paths import REPOSITORY
from harness.results.redaction import HIDDEN

DILATION = 4.0


def inventory_at(directory: Path, **more: object) -> Path:
    variables = {
        "cluster_kind": "local",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "node_root": str(directory / "node"),
        "node_supervisor": "process",
        **more,
    }
    inventory = directory / "hosts.yml"
    hosts = {"l-1": {"ansible_host": "127.0.14.1"}}
    inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    return inventory


def test_a_launched_programs_times_are_undilated_and_its_secrets_not_kept(tmp_path: Path) -> None:
    inventory = inventory_at(tmp_path, cluster_time_dilation=DILATION)
    results = tmp_path / "results"
    command = ["sh", "-c", "awk '{print $1}' /proc/uptime; sleep 2; awk '{print $1}' /proc/uptime"]
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", "launch", "-n", "1", "-s", "0", "-i", str(inventory), "-o", str(results),
            "--env", "API_TOKEN=hush", "--env", "BOUND=1", "--", *command,
        ],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    began, ended = (float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("worker0: "))
    run = results / "launch" / "latest"
    rows = list(csv.DictReader((run / "ranks.csv").read_text(encoding="utf-8").splitlines()))
    (worker,) = [row for row in rows if row["role"] == "worker"]
    ran = float(worker["ended_seconds"]) - float(worker["started_seconds"])
    assert (ended - began) / DILATION - 0.05 <= ran < ended - began
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["cluster"]["time_dilation"] == DILATION
    assert manifest["environment"] == {"API_TOKEN": HIDDEN, "BOUND": "1"}


def test_ranks_work_on_a_copy_of_the_code_and_leave_the_code_as_it_was(tmp_path: Path) -> None:
    inventory = inventory_at(tmp_path)
    (tmp_path / "program").mkdir()
    script = "import pathlib; print(pathlib.Path('input').read_text()); pathlib.Path('input').write_text('changed')\n"
    (tmp_path / "program" / "work.py").write_text(script)
    (tmp_path / "program" / "input").write_text("as it was sent")
    command = [
        sys.executable, "-m", "harness", "launch", "--framework", "plain", "-n", "1", "-i", str(inventory),
        "-o", str(tmp_path / "results"),
    ]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(
            [*command, "--", "python", str(tmp_path / "program" / "work.py")],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "worker0: as it was sent" in done.stdout
    assert {path.read_text() for path in (tmp_path / "node" / "code").glob("*/input")} == {"as it was sent"}
    assert {path.read_text() for path in (tmp_path / "node" / "jobs").glob("*/l-1/input")} == {"changed"}
