"""What a node is told of its processor, and what its agent makes of it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from harness.contract import wire
from harness.paths import REPOSITORY
from harness.virtual.cpu import library, speed

sys.path.insert(0, str(REPOSITORY / "experiments"))
from agent.virtual import cpu

NODE = {"model": "stretched", "fraction": 0.1, "factor": 20.0, "library": "/usr/lib/harness/x.so"}


def test_a_tenth_of_a_core_in_time_slowed_down_by_two_is_stretched_by_twenty() -> None:
    assert speed.slowdown(0.1, 2.0) == pytest.approx(20.0)
    assert speed.slowdown(None, 2.0) is None
    assert speed.slowdown(3.0, 2.0) is None


def test_a_node_is_told_its_model() -> None:
    assert speed.described("quota", 0.1, 1.0) == {"model": "quota", "fraction": 0.1}
    assert speed.described("stretched", None, 1.0) == {"model": "none"}
    assert speed.described("stretched", 2.0, 1.0) == {"model": "none", "fraction": 2.0}
    told = speed.described("stretched", 0.1, 2.0)
    assert (told["model"], told["factor"]) == ("stretched", 20.0)
    assert told["library"] == f"/usr/lib/harness/{library.place().name}"


def test_telling_again_changes_nothing(tmp_path: Path) -> None:
    assert speed.tell(tmp_path, {"model": "quota", "fraction": 0.1})
    assert not speed.tell(tmp_path, {"model": "quota", "fraction": 0.1})
    assert speed.told(tmp_path) == {"model": "quota", "fraction": 0.1}
    assert cpu.described(tmp_path / wire.CPU_FILE.lstrip("/")) == {"model": "quota", "fraction": 0.1}


def test_a_real_nodes_ranks_get_nothing(tmp_path: Path) -> None:
    assert cpu.described(tmp_path / "absent") is None
    assert cpu.environment(tmp_path, {}, None) == {}
    assert cpu.counted(tmp_path, None) == {}


def test_a_stretched_nodes_ranks_get_the_library_beside_their_own(tmp_path: Path) -> None:
    got = cpu.environment(tmp_path, {"LD_PRELOAD": "/own.so"}, NODE)
    assert got == {
        "LD_PRELOAD": "/usr/lib/harness/x.so:/own.so",
        wire.CPU_FACTOR_VARIABLE: "20.0",
        wire.CPU_REPORT_VARIABLE: str(tmp_path),
    }
    assert cpu.environment(tmp_path, {}, {"model": "quota", "fraction": 0.1}) == {}


def test_the_counters_of_all_processes_of_a_rank_are_added(tmp_path: Path) -> None:
    for pid, behind in ((1, 2_000_000_000), (2, 500_000_000)):
        (tmp_path / f"cpu-{pid}").write_bytes(struct.pack("=8s3q", b"cpu-1\n", 10, behind, 5))
    (tmp_path / "cpu-3").write_bytes(b"torn")
    assert cpu.counted(tmp_path, NODE) == {wire.CPU_MODEL: "stretched", wire.CPU_BEHIND: pytest.approx(2.5)}


def test_a_rank_that_was_not_seen_ran_without_a_model(tmp_path: Path) -> None:
    assert cpu.counted(tmp_path, NODE) == {wire.CPU_MODEL: "none", wire.CPU_BEHIND: None}
    quota = {"model": "quota", "fraction": 0.1}
    assert cpu.counted(tmp_path, quota) == {wire.CPU_MODEL: "quota", wire.CPU_BEHIND: None}
