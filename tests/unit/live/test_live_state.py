"""From a run directory to the document that its page shows, while it is written, afterwards, and whatever is in it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_runs import MANIFEST, run_being_written
from odd_values import EXAMPLES
from report_runs import trial, write_run

from harness.contract.json_line import Json
from harness.live.health import throttling
from harness.live.planned import Planned, planned_trials
from harness.live.reader import RunReader
from harness.live.running import Said
from harness.live.state import document
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths


def facts_of(state: Json) -> dict[str, str]:
    return dict(state["current"]["facts"])


def test_a_sweep_is_told_moment_by_moment(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        reader = RunReader(run.paths)
        state = reader.document()
        assert (state["phase"], state["note"], state["experiment"]) == ("running", "", "small")
        assert state["progress"] == {"text": "0 of 4 trials done, 4 left", "left": "", "share": 0.0}
        assert state["current"] is None

        run.directory.begin("n01-r1")
        state = reader.document()
        assert state["progress"]["text"] == "0 of 4 trials done, 1 running, 3 left"
        assert (state["current"]["trial"], state["current"]["doing"]) == ("n01-r1", "starting")

        run.event("n01-r1", -10.0, "ready", workers=1)
        assert reader.document()["current"]["doing"] == "training begins, ready: 1"
        for second in range(1, 6):
            run.event("n01-r1", -10.0 + second, "progress", epoch=1, step=2 * second, steps=10)
        state = reader.document()
        assert state["current"]["doing"] == "epoch 1 of 4, step 10 of 10"
        assert state["current"]["share"] == 0.25
        assert {name: facts_of(state)[name] for name in ("nodes", "images/s", "steps/s")} == {
            "nodes": "1", "images/s": "20.0", "steps/s": "2.00",
        }  # fmt: skip
        assert facts_of(state)["left of it"] == "about 0:10"
        assert state["progress"]["left"] == ""  # of the other trials nothing is known

        run.epoch("n01-r1", 1)
        run.event("n01-r1", -4.0, "epoch", epoch=1, train_seconds=2.0)
        state = reader.document()
        assert state["current"]["doing"] == "epoch 1 of 4 done"
        (course,) = state["courses"]
        assert (course["points"], course["runs"]) == ([[1.0, 0.6]], True)
        assert [(one["point"], one["runs"]) for one in state["rates"]] == [([1, 100.0], True)]

        run.finish("n01-r1")
        state = reader.document()
        assert state["progress"]["text"] == "1 of 4 trials done, 3 left"
        assert state["progress"]["left"] == "about 0:24 left"
        assert state["current"]["doing"] == "over"
        assert state["trials"][0]["cells"] == ["1", "100", "90.00%", "1.00 s", "8.00 s"]

        run.directory.begin("n02-r1")
        run.finish("n02-r1", "failed", failure="worker1 on pi2: exited with status 1", total_seconds=3.0)
        state = reader.document()
        assert state["progress"]["text"] == "2 of 4 trials done, 1 failed, 2 left"
        assert state["progress"]["left"] == "about 0:11 left"
        assert [(one["trial"], one["why"]) for one in state["trials"]] == [
            ("n02-r1", "worker1 on pi2: exited with status 1"), ("n01-r1", ""),
        ]  # fmt: skip
    state = reader.document()
    assert state["phase"] == "stopped"
    assert state["note"].startswith("No harness works on this run any more, and 2 trials have no result.")


def test_an_epoch_counts_once_all_workers_have_told_of_it(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        reader = RunReader(run.paths)
        run.directory.begin("n02-r1")
        for rank in (0, 1):
            run.event("n02-r1", -5.0, "ready", rank=rank, workers=2)
        run.epoch("n02-r1", 1, train_seconds=4.0)
        assert reader.document()["courses"] == []
        run.epoch("n02-r1", 1, rank=1, validation_accuracy=0.8)
        state = reader.document()
        assert state["courses"][0]["points"] == [[1.0, pytest.approx(0.7)]]
        assert state["rates"][0]["point"] == [2, 100.0]  # 400 images in the slowest worker's 4 s


def test_a_trial_that_is_begun_again_begins_at_zero(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        reader = RunReader(run.paths)
        run.directory.begin("n01-r1")
        run.event("n01-r1", -9.0, "ready", workers=1)
        run.event("n01-r1", -8.0, "progress", epoch=1, step=5, steps=10)
        run.event("n01-r1", -7.0, "error", message="out of memory")
        run.epoch("n01-r1", 1)
        run.directory.log("n01-r1", "worker0", b"first attempt\n")
        state = reader.document()
        assert state["current"]["errors"] == ["worker0: out of memory"]
        run.finish("n01-r1", "failed")
        assert reader.document()["progress"]["text"] == "1 of 4 trials done, 1 failed, 3 left"
        run.directory.begin("n01-r1", "attempt")
        state = reader.document()
        assert state["progress"]["text"] == "0 of 4 trials done, 1 running, 3 left"
        assert (state["courses"], state["trials"], state["logs"]) == ([], [], [])
        assert (state["current"]["doing"], facts_of(state)["attempt"]) == ("starting", "2")
        assert state["current"]["errors"] == []


def test_nodes_are_those_of_the_manifest_with_their_last_sample(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        reader = RunReader(run.paths)
        assert [(one["node"], set(one["cells"]), one["old"]) for one in reader.document()["nodes"]] == [
            ("pi1", {"–"}, True), ("pi2", {"–"}, True),  # noqa: RUF001
        ]  # fmt: skip
        for seconds, sent in ((-12.0, 0), (-2.0, 4_000_000)):
            run.sample(
                "n01-r1", "pi1", seconds, cpu_percent=98.4, memory_used_bytes=287e6, temperature_celsius=61.25,
                throttled="0x50005", bytes_sent=sent, bytes_received=sent * 2,
            )  # fmt: skip
        run.sample("n01-r1", "pi2", -99.0, cpu_percent=5)
        one, other = reader.document()["nodes"]
        assert one["cells"] == [
            "98%", "287 MB", "61.2 °C", "under-voltage, throttled", "400 kB/s", "800 kB/s", "0:02 ago",
        ]  # fmt: skip
        assert (one["held"], one["old"], one["cpu"]) == (True, False, [98.4, 98.4])
        assert (other["old"], other["cells"][0], other["cells"][4]) == (True, "5%", "–")  # noqa: RUF001
        run.sample("n02-r1", "pi1", -1.0, cpu_percent=50, bytes_sent=10, bytes_received=10)  # its counters began anew
        assert reader.document()["nodes"][0]["cells"][3:6] == ["–"] * 3  # noqa: RUF001


def test_watts_stand_beside_what_a_node_does_where_it_has_a_meter(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        reader = RunReader(run.paths)
        state = reader.document()
        assert ([one["watts"] for one in state["nodes"]], state["power"]) == (["", ""], "")
        run.power("pi1", -70.0, 4.0, source="estimate")
        assert [one["watts"] for one in reader.document()["nodes"]] == ["", ""]  # not sampled
        run.power("pi1", -9.0, 3.0, state="idle")
        run.power("pi1", -1.0, 3.52)
        run.power("switch", -1.0, 5.1, part="switch")
        state = reader.document()
        assert [one["watts"] for one in state["nodes"]] == ["3.5 W", "–"]  # noqa: RUF001
        assert state["power"] == "switch 5.1 W, all meters together 8.6 W"
        run.power("pi1", 0.0, None)  # it does not answer
        run.power("pi2", -64.0, 2.0)
        state = reader.document()
        assert [one["watts"] for one in state["nodes"]] == ["–", "2.0 W, 1:04 ago"]  # noqa: RUF001
        assert state["power"] == "switch 5.1 W"


def test_local_nodes_show_no_wire_use_and_why(tmp_path: Path) -> None:
    with run_being_written(tmp_path, cluster={"kind": "local"}) as run:
        for seconds in (-6.0, -1.0):
            run.sample("n01-r1", "local-1", seconds, bytes_sent=9, bytes_received=9)
        state = RunReader(run.paths).document()
    assert state["wire"].startswith("The nodes share one loopback interface")
    assert state["nodes"][0]["cells"][4:6] == ["–", "–"]  # noqa: RUF001


def test_rates_are_of_undilated_time_and_times_left_are_not(tmp_path: Path) -> None:
    with run_being_written(tmp_path, cluster={"kind": "virtual", "time_dilation": 4.0}) as run:
        run.directory.begin("n01-r1")
        run.event("n01-r1", -10.0, "ready", workers=1)
        for second in range(6):
            run.event("n01-r1", -10.0 + second, "progress", epoch=1, step=second, steps=10)
        state = RunReader(run.paths).document()
        assert (facts_of(state)["steps/s"], facts_of(state)["images/s"]) == ("4.00", "40.0")
        run.finish("n01-r1")
        assert RunReader(run.paths).document()["progress"]["left"] == "about 1:36 left"  # 3 trials of 4 x 8 s


def test_a_finished_run_has_ended_and_keeps_its_last_trials_logs(tmp_path: Path) -> None:
    with run_being_written(tmp_path, trials=["n01-r1"]) as run:
        run.directory.begin("n01-r1")
        run.directory.log("n01-r1", "server0", b"served\n")
        run.directory.log("n01-r1", "worker10", b"ten\n")
        run.directory.log("n01-r1", "worker2", b"\x1b[31m<b>two</b>\xff\n")
        run.finish("n01-r1", "suspect", suspect_because="a node was throttled while it ran")
        paths = run.paths
    state = RunReader(paths).document()
    assert (state["phase"], state["note"]) == ("ended", "The run has ended.")
    assert state["progress"] == {"text": "1 of 1 trial done, 1 suspect", "left": "", "share": 1.0}
    assert state["current"]["runs"] is False
    assert [(one["rank"], one["lines"]) for one in state["logs"]] == [
        ("worker2", ["?[31m<b>two</b>\N{REPLACEMENT CHARACTER}"]), ("worker10", ["ten"]), ("server0", ["served"]),
    ]  # fmt: skip


def test_what_a_killed_harness_left_does_not_run(tmp_path: Path) -> None:
    with run_being_written(tmp_path) as run:
        run.directory.begin("n01-r1")
        run.event("n01-r1", -1.0, "progress", epoch=1, step=1, steps=2)
        paths, lock = run.paths, (run.paths.root / ".lock").read_bytes()
        assert lock
    paths.lock.write_bytes(lock)  # as where it was killed
    state = RunReader(paths).document()
    assert (state["phase"], state["current"]["doing"]) == ("stopped", "was cut off")
    os.utime(paths.trial("n01-r1"), (time.time() - 60, time.time() - 60))
    with RunDirectory(paths, []):  # another one that has not come to it yet
        state = RunReader(paths).document()
    assert (state["phase"], state["current"]["runs"]) == ("running", False)
    assert state["progress"]["text"] == "0 of 4 trials done, 4 left"


def test_a_run_directory_may_go_away_and_come_back(tmp_path: Path) -> None:
    paths = write_run(tmp_path / "run", trial(1), trial(2))
    reader = RunReader(paths)
    assert reader.document()["phase"] == "ended"
    aside = tmp_path / "aside"
    shutil.move(paths.root, aside)
    for _ in range(2):
        state = reader.document()
        assert (state["phase"], state["note"]) == ("unreadable", "The run directory was removed.")
    shutil.move(aside, paths.root)
    assert reader.document()["progress"]["text"] == "2 of 2 trials done"
    shutil.rmtree(paths.root)
    assert reader.document()["phase"] == "unreadable"
    write_run(tmp_path / "run", trial(4))
    state = reader.document()
    assert ([one["trial"] for one in state["trials"]], len(state["courses"])) == (["n04-r1"], 1)
    paths.manifest.write_text("{", encoding="utf-8")
    assert reader.document()["experiment"] == "run"


def test_a_job_of_launch_is_shown_without_a_plan(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.manifest.write_text(
        json.dumps({"cluster": {"kind": "virtual"}, "placement": {"worker0": "n1", "worker1": "n1"}})
    )
    state = RunReader(paths).document()
    assert (state["phase"], state["experiment"], state["progress"]["share"]) == ("stopped", "run", 0.0)
    assert [one["node"] for one in state["nodes"]] == ["n1"]


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("0x0", ("no", False)),
        ("throttled=0x4", ("throttled", True)),
        ("0xa", ("frequency capped, temperature limit", True)),
        ("0x10000", ("no longer: under-voltage", False)),
        ("", ("", False)),
        ("words", ("", False)),
    ],
)
def test_throttling_is_told_in_words(word: str, meaning: tuple[str, bool]) -> None:
    assert throttling(word) == meaning


def test_the_plan_is_read_from_the_manifest_with_variants_and_swept_values() -> None:
    manifest = {
        "trials": ["n01-r1-slow-rounds_8", "n11-r2-slow_er-rounds_9", "n02-r1-odd", "job"],
        "experiment": {
            "program": "p.py", "parameters": {"rounds": 1}, "axes": {"nodes": [1, 11], "repeats": 2, "rounds": [8, 9]},
            "variants": {"slow": {"parameters": {"batch": 5}}, "slow er": {"program": "q.py"}},
        },
        "programs": {
            "p.py": {"epochs": "rounds", "batch": "batch", "parameters": {"batch": {"default": 64}}}, "q.py": {"batch": None},
        },
    }  # fmt: skip
    assert planned_trials(manifest) == {
        "n01-r1-slow-rounds_8": Planned(1, 8, 5),
        "n11-r2-slow_er-rounds_9": Planned(11, None, None),
        "n02-r1-odd": Planned(2, 1, 64),
        "job": Planned(None, 1, 64),
    }
    for odd in ({}, {"trials": 3}, {"trials": [None, 7], "experiment": [], "programs": "x"}):
        assert all(one == Planned() for one in planned_trials(odd).values())


ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
)
CELLS = st.text(max_size=8) | st.sampled_from(["nan", "1e400", "-inf", "1e15", "-3", "0", "5", "2031-01-01T00:00:00Z"])


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    manifest=st.dictionaries(
        st.sampled_from(["trials", "experiment", "programs", "cluster", "placement", "started_at"]),
        ANY | st.dictionaries(st.sampled_from([*MANIFEST["experiment"], *MANIFEST["cluster"], "variants"]), ANY),
    ),
    cells=st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=3),
    events=st.lists(
        st.dictionaries(
            st.sampled_from(["event", "time", "rank", "epoch", "step", "steps", "workers", "message", "role"]),
            ANY | st.sampled_from(["progress", "ready", "epoch", "done", "error", "2031-01-01T00:00:00Z", 0, 1e300]),
        ),
        max_size=4,
    ),
)
def test_no_content_of_the_files_breaks_the_document(
    tmp_path: Path, manifest: dict[str, Any], cells: list[list[str]], events: list[dict[str, Any]]
) -> None:
    paths = RunPaths(tmp_path / "any")
    paths.trial("n01-r1").mkdir(parents=True, exist_ok=True)
    paths.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    headings = {
        paths.trials: "trial,status,total_seconds,images_per_train_second",
        paths.epochs: "trial,epoch,images,train_seconds",
        paths.telemetry: "node,time,cpu_percent,bytes_sent",
    }
    for path, heading in headings.items():
        lines = [",".join(cell.replace(",", "") for cell in row) for row in cells]
        path.write_text("\n".join([heading, *lines]) + "\n", encoding="utf-8", errors="replace")
    lines = [json.dumps(event) for event in events]
    paths.trial_events("n01-r1").write_text("\n".join(lines) + "\n", encoding="utf-8")
    state = RunReader(paths).document()
    assert json.loads(json.dumps(state, allow_nan=False)) == json.loads(json.dumps(state))


def test_a_torn_event_is_left_out() -> None:
    said = Said(2)
    for line in ('{"event": "progress", "time": "2031', "words", '{"event": "progress", "time": 3}', '["progress"]'):
        said.add(line)
    assert (said.began, said.pace.epoch) == (None, None)


def test_the_document_is_made_of_what_is_known_alone(tmp_path: Path) -> None:
    """A clock of the future, or a trial in both places, does not make it odd."""
    with run_being_written(tmp_path) as run:
        run.directory.begin("n01-r1")
        run.event("n01-r1", 500.0, "progress", epoch=1, step=1, steps=2)
        reader = RunReader(run.paths)
        reader.document()
        seen = reader._read("here")
        seen.rows["n01-r1"] = {"trial": "n01-r1", "status": "ok"}  # type: ignore[index]
        state = document(seen)
        assert state["progress"]["text"] == "1 of 4 trials done, 3 left"
        assert state["current"]["doing"] == "over"
