"""power.csv while a sweep would run: whatever meters do, it goes on, ends at once, and what is missing can be seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plugs import Plug as SimulatedPlug

from harness.contract.columns import POWER_COLUMNS
from harness.energy import sampling
from harness.energy.address import Fixed, Meter, OwnFile, Plug
from harness.energy.devices import MeterError
from harness.energy.metering import Metered, Metering
from harness.energy.own_file import OwnRows, moment_in
from harness.energy.sampling import Sampling
from harness.errors import BadInputError
from harness.results.disk import read_rows
from harness.results.rows import Row

INTERVAL = 0.05


def until(so: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


def of(plug: SimulatedPlug, idle: float | None = None) -> Plug:
    return Plug("shelly2", "127.0.0.1", plug.port, idle_watts=idle)


def metering(idle_seconds: float = 0.0, **meters: Meter | Fixed) -> Metering:
    things = tuple(Metered(name, "other" if name == "switch" else "node", by) for name, by in meters.items())
    return Metering(things, idle_seconds, INTERVAL)


@contextmanager
def running(file: Path, what: Metering) -> Iterator[tuple[Sampling, list[str]]]:
    warnings: list[str] = []
    with Sampling(what, file, warnings.append) as power:
        yield power, warnings


def rows(file: Path, node: str = "a") -> list[Row]:
    return [row for row in read_rows(file) if row["node"] == node]


@pytest.fixture
def plug() -> Iterator[SimulatedPlug]:
    with SimulatedPlug(3.5) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "power.csv"


def test_samples_are_rows_idle_ones_first(plug: SimulatedPlug, file: Path) -> None:
    with running(file, metering(0.2, a=of(plug), switch=Fixed(4.0, "declared", "", 3.0))) as (power, warnings):
        power.measure_idle()
        plug.watts = 6.0
        until(lambda: any(row["state"] == "busy" for row in rows(file)))
    found = rows(file)
    assert file.read_text().splitlines()[0] == ",".join(POWER_COLUMNS)
    assert {row["watts"] for row in found if row["state"] == "idle"} == {"3.5"}
    assert {row["watts"] for row in found if row["state"] == "busy"} <= {"3.5", "6.0"}
    assert {(row["part"], row["source"], row["origin"]) for row in found} == {("node", "meter", of(plug).shown)}
    assert [str(row["time"]) for row in found] == sorted(str(row["time"]) for row in found)
    assert [(row["watts"], row["state"], row["source"], row["part"]) for row in rows(file, "switch")] == [
        ("3.0", "idle", "declared", "other"), ("4.0", "busy", "declared", "other"),
    ]  # fmt: skip
    assert warnings == []


def test_declared_idle_watts_are_a_row_and_nobody_waits(plug: SimulatedPlug, file: Path) -> None:
    began = time.monotonic()
    with running(file, metering(60.0, a=of(plug, idle=1.4))) as (power, _):
        power.measure_idle()
        until(lambda: len(rows(file)) > 2)
    assert time.monotonic() - began < 10
    assert [(row["watts"], row["state"], row["source"]) for row in rows(file)][:2] == [
        ("1.4", "idle", "declared"), ("3.5", "busy", "meter"),
    ]  # fmt: skip


def test_a_meter_that_stops_answering_leaves_rows_without_watts_and_is_told_of_once(
    plug: SimulatedPlug, file: Path
) -> None:
    with running(file, metering(a=of(plug))) as (_, warnings):
        until(lambda: rows(file))
        plug.mood = "broken"
        until(lambda: sum(row["watts"] == "" for row in rows(file)) > 3)
        plug.mood = "well"
        until(lambda: rows(file)[-1]["watts"] == "3.5")
        (warning,) = warnings
        assert warning.startswith("the power meter of a (shelly2://127.0.0.1:")
        assert "status 500" in warning
        plug.mood = "broken"  # which is news again
        until(lambda: len(warnings) == 2)


@pytest.mark.parametrize("mood", ["silent", "dripping"])
def test_a_meter_that_is_slow_holds_nobody_up(plug: SimulatedPlug, file: Path, mood: str) -> None:
    plug.mood = "silent" if mood == "silent" else "dripping"
    with SimulatedPlug(2.0) as other, running(file, metering(a=of(plug), b=of(other))):
        until(lambda: plug.asked)
        until(lambda: len(rows(file, "b")) > 5)
        began = time.monotonic()
    assert time.monotonic() - began < sampling.STOP_SECONDS + 1
    assert {row["watts"] for row in rows(file)} <= {""}


def test_a_meter_that_answers_after_the_end_writes_no_more(file: Path) -> None:
    with SimulatedPlug(3.5) as plug:
        plug.mood = "silent"
        with running(file, metering(a=of(plug))):
            until(lambda: plug.asked)
        (thread,) = [each for each in threading.enumerate() if each.name == "power meter of a"]
        before = file.read_text()
    thread.join(10)  # the plug has hung up
    assert not thread.is_alive()
    assert file.read_text() == before


def test_a_run_that_goes_on_keeps_its_samples_but_a_torn_one(plug: SimulatedPlug, file: Path) -> None:
    with running(file, metering(a=of(plug))):
        until(lambda: rows(file))
    before = file.read_text()
    file.write_text(before + "2026-11-28T04")
    with running(file, metering(a=of(plug))):
        until(lambda: len(rows(file)) > len(before.splitlines()))
    assert file.read_text().startswith(before + "20")
    assert len(read_rows(file)) == len(file.read_text().splitlines()) - 1


def test_a_file_of_somebody_else_is_not_overwritten(plug: SimulatedPlug, file: Path) -> None:
    file.write_text("mine\n")
    with pytest.raises(BadInputError, match="not the heading"), running(file, metering(a=of(plug))):
        pass
    assert file.read_text() == "mine\n"


def test_a_disk_that_takes_no_more_is_told_of_and_ends_nothing(plug: SimulatedPlug, file: Path) -> None:
    with running(file, metering(a=of(plug))) as (_, warnings):
        until(lambda: rows(file))
        file.unlink()
        until(lambda: warnings)
        time.sleep(3 * INTERVAL)
    (warning,) = warnings
    assert warning.startswith("no more samples of power are kept: cannot write")
    assert not file.exists()


def test_without_meters_nothing_is_written(file: Path) -> None:
    with running(file, Metering()) as (power, _):
        power.measure_idle()
    assert not file.exists()


def test_a_csv_of_ones_own_is_followed_from_the_beginning_of_the_sweep_to_its_end(tmp_path: Path, file: Path) -> None:
    own = tmp_path / "own.csv"

    def write(node: str, watts: str, seconds_ago: float = 0.0) -> None:
        moment = datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat()
        with own.open("a") as opened:
            opened.write(f"{moment},{node},{watts}\n")

    own.write_text("time,node,watts\n")
    write("a", "99", seconds_ago=60)
    with running(file, metering(a=OwnFile(own))) as (_, warnings):
        write("a", "3.5")
        write("b", "99")
        write("a", "none")
        until(lambda: len(rows(file)) == 2)
        write("a", "4.5")
    assert [row["watts"] for row in rows(file)] == ["3.5", "", "4.5"]
    assert warnings == []


def test_rows_of_ones_own_are_read_once_whole_and_also_from_a_file_that_was_begun_anew(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    found = OwnRows(own, "a", since=100.0)
    with pytest.raises(MeterError, match="no such file"):
        found.new()
    own.write_text("watts;time;node\n1;1;a\n")
    with pytest.raises(MeterError, match="does not name time, node, watts"):
        found.new()
    own.write_text(
        "\ufeffwatts, time,node,more\n1,99,a,x\n2,100,a,x\n3,101,b,x\n,102,a\nx,y\n4,1970-01-01T00:02,a,x\n5,130,"
    )
    assert found.new() == [(100.0, 2.0), (102.0, None), (120.0, 4.0)]
    assert found.new() == []
    with own.open("a") as opened:
        opened.write("a\n")
    assert found.new() == [(130.0, 5.0)]
    own.write_text("time,node,watts\n140,a,6\n")
    assert found.new() == [(140.0, 6.0)]
    own.unlink()
    own.mkdir()
    with pytest.raises(MeterError, match="no such file"):
        found.new()


def test_a_line_of_any_length_hides_no_row_behind_it(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    found = OwnRows(own, "a", since=0.0)
    long = b"x" * (5 << 20)
    own.write_bytes(b"time,node,watts\n1,a,2\n" + long + b"\n2,a,3\n3,a,4" + b" " * 20_000 + b"\n4,a,5\n")
    assert [sample for _ in range(4) for sample in found.new()] == [(1.0, 2.0), (2.0, 3.0), (4.0, 5.0)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-28T04:00:00Z", 1795838400.0),
        ("2026-11-28T05:00:00+01:00", 1795838400.0),
        ("2026-11-28 04:00:00", 1795838400.0),
        ("1795838400.5", 1795838400.5),
        ("", None),
        ("x", None),
        ("nan", None),
        ("-5", None),
        ("1e300", None),
    ],
)
def test_moments_are_iso_8601_or_seconds(text: str, moment: float | None) -> None:
    assert moment_in(text) == moment
