"""Energy on the page, in the terminal and in a pack: where there is data, labelled by what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_runs import moment, power_of, timed_run, trial, write_run
from rich.console import Console
from typer.testing import CliRunner

from harness.cli.app import app
from harness.report import make_report, summary
from harness.results.run_paths import RunPaths

PRICE = 0.4


def said(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def printed(paths: RunPaths, price: float | None = None, width: int = 100) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(summary(paths, kwh_price=price))
    return captured.get()


def test_the_page_has_energy_by_size_and_by_node(tmp_path: Path) -> None:
    paths = timed_run(
        tmp_path / "run", [*power_of(["pi1", "pi2"], 120), *power_of(["switch"], 120, 10.0, part="other")]
    )
    done = CliRunner().invoke(app, ["report", str(paths.root), "--kwh-price", str(PRICE)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["report", str(paths.root), "--kwh-price", "-1"]).exit_code == 2
    text = said(paths.report.read_text(encoding="utf-8"))
    assert "Energy nodes trials power W, while training energy J per epoch above idle J per epoch" in text
    assert "J to 98%" in text
    assert "euros a trial, at 0.4 a kWh" in text
    assert "Energy is of the trial's nodes, and of switch, whole in every trial." in text.replace("&#39;", "'")
    by_node = text.partition("Energy by node")[2]
    assert "2 nodes pi1 4.00 1.00 104 measured 100.0%" in by_node
    assert "switch 10.0 1.00 260 measured 100.0%" in by_node


def test_the_terminal_has_it_too_within_80_columns(tmp_path: Path) -> None:
    paths = timed_run(tmp_path / "run", power_of(["pi1", "pi2"], 120))
    text = printed(paths, PRICE, 80)
    assert max(map(len, text.splitlines())) <= 80
    (first,) = re.findall(
        r"^ *1 +1 +4\.00 +200 +150 +2\.00 +420 +400 +(\S+)\s*$", text.partition("Energy")[2], re.MULTILINE
    )
    assert float(first) == pytest.approx(420 / 3.6e6 * PRICE, rel=0.01)


def test_what_was_not_measured_is_called_so(tmp_path: Path) -> None:
    shared = {"time": moment(-10), "part": "node", "source": "estimate", "state": "busy", "origin": "a table of boards"}
    power = [{**shared, "node": name, "watts": 3.7} for name in ("pi1", "pi2")]
    estimated = timed_run(tmp_path / "estimated", power)
    assert "Energy: an estimate, not measured" in printed(estimated)
    assert "An estimate, not measured: pi1, pi2 at 3.7 W (a table of boards)." in printed(estimated, width=200)
    mixed = timed_run(tmp_path / "mixed", [*power_of(["pi1"], 120), power[1]])
    assert "Energy: partly not measured" in printed(mixed)


def test_without_power_nothing_is_said_of_energy(tmp_path: Path) -> None:
    paths = write_run(tmp_path / "run", trial(1), trial(2))
    assert "nergy" not in printed(paths, PRICE)


def test_where_samples_are_missing_the_page_says_why_there_is_no_energy(tmp_path: Path) -> None:
    paths = timed_run(tmp_path / "run", power_of(["pi1", "pi2"], 30))
    text = said(make_report(paths).read_text(encoding="utf-8"))
    assert "No energy is given where samples cover less than 90% of a trial" in text
    assert "J per epoch" not in text
