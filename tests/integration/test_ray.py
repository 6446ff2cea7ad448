"""Work that Ray's joblib backend does, to compare with: the same result, nobody without the trial's token, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from dask_nodes import Nodes, nothing_is_left, ranks, wait_until, without

pytestmark = pytest.mark.timeout(900)

CONNECT = """\
import os, sys
os.environ.pop("RAY_AUTH_TOKEN", None)
if len(sys.argv) > 2:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": sys.argv[2]}
import ray
try:
    ray.init(address=sys.argv[1], logging_level="critical", log_to_driver=False)
    print("connected", ray.get(ray.remote(lambda: 1).remote(), timeout=20))
except Exception as error:
    print("refused", type(error).__name__)
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, dask_root: Path) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("ray"), dask_root)


def left_directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("ray-*"))


def test_it_gives_the_same_forest_and_nothing_is_left(nodes: Nodes) -> None:
    before = left_directories()
    code, said = nodes.sweep("alone", "forest.py", 1, trees=40, via="pool")
    assert code == 0, said
    code, said = nodes.sweep("ray", "forest.py", 2, trees=40, via="ray")
    assert code == 0, said
    (row,) = nodes.rows("ray")
    assert (row["via"], row["images"], row["status"]) == ("ray", "40", "ok")
    assert row["weights_sha256"] == nodes.rows("alone")[0]["weights_sha256"]
    assert nothing_is_left(nodes)
    assert left_directories() == before


def test_who_has_not_the_trials_token_is_refused(nodes: Nodes) -> None:
    process = nodes.start("guarded", "forest.py", 1, trees=1_000_000, via="ray")
    try:
        wait_until(lambda: '"event": "ready"' in nodes.log("guarded", "driver0"), "Ray did not begin")
        environment = Path(f"/proc/{ranks(nodes, 'scheduler')[0]}/environ").read_text()
        variables = dict(part.split("=", 1) for part in environment.split("\0") if "=" in part)
        address = variables["DASK_SCHEDULER_ADDRESS"].removeprefix("tls://")

        def connect(*token: str) -> str:
            return subprocess.run(
                [str(nodes.root / "runtimes/dask/bin/python"), "-c", CONNECT, address, *token],
                capture_output=True, text=True, timeout=120, check=True,
            ).stdout.strip()  # fmt: skip

        assert connect("0" * 64).startswith("refused")
        assert connect().startswith("refused")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert nothing_is_left(nodes)


def test_a_lost_head_ends_the_trial(nodes: Nodes) -> None:
    process = nodes.start("headless", "forest.py", 1, trees=1_000_000, via="ray")
    try:
        wait_until(lambda: '"event": "ready"' in nodes.log("headless", "driver0"), "Ray did not begin")
        os.kill(ranks(nodes, "scheduler")[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=90)
    assert process.returncode == 1, said
    assert "scheduler0 on d-1" in said
    assert nothing_is_left(nodes)


def test_nodes_without_ray_are_refused_with_the_remedy(nodes: Nodes, tmp_path: Path) -> None:
    code, said = without(nodes, "ray", tmp_path).sweep("bare", "forest.py", 1, trees=10, via="ray")
    assert code == 2
    assert "d-1: its runtime has no ray" in said
    assert "dask_ray: true" in said
