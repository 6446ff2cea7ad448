"""The page, from run directories on disk: whole, broken, partial and hostile ones."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest
from report_runs import trial, write_run
from rich.console import Console
from typer.testing import CliRunner

from harness.analysis.analysis import analyse
from harness.analysis.facts import read_facts
from harness.analysis.load import load_run, read_table
from harness.cli.app import app
from harness.errors import BadInputError
from harness.report import make_report, summary, svg
from harness.report.page import render_page
from harness.report.provenance import essentials, flatten
from harness.results.run_paths import RunPaths

_VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Checker(html.parser.HTMLParser):
    """Collects ids, references and text, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "src", "xlink:href", "srcset", "action") and value:
                self.references.append(value)
            if value and "url(" in value:
                self.references += re.findall(r"url\(([^)]*)\)", value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


def read(source: str) -> tuple[str, str, _Checker]:
    """A page, its text, and what the checker found."""
    checker = _Checker()
    checker.feed(source)
    assert checker.open == []
    return source, " ".join(" ".join(checker.words).split()), checker


def rendered(paths: RunPaths) -> tuple[str, str, _Checker]:
    """The page without its figures, which take most of the time."""
    run = load_run(paths)
    analysis = analyse(run.trials, run.epochs, run.telemetry, run.manifest, notes=run.notes)
    return read(render_page(analysis, [], run.manifest))


def test_the_page_answers_first_and_stands_alone(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1), trial(2), trial(4))
    page = make_report(paths)
    source, words, checker = read(page.read_text(encoding="utf-8"))
    assert page == paths.report
    assert words.index("From 1 to 4 nodes the time per epoch fell") < words.index("Figures")
    assert "http" not in source
    assert "<script" not in source
    assert "prefers-color-scheme: dark" in source
    assert all(reference.startswith("#") for reference in checker.references)
    assert {reference[1:] for reference in checker.references} <= set(checker.ids)
    assert len(checker.ids) == len(set(checker.ids))
    assert source.count("<svg") == 9


def test_what_was_emulated_is_said_before_the_figures(tmp_path: Path) -> None:
    _, words, _ = rendered(write_run(tmp_path, trial(1)))
    told = "containers of one machine (profile pi3, 0.15 of a core each, 100mbit each way)"
    assert words.index(told) < words.index("Numbers")


def test_hostile_values_are_text(tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    rows = [
        trial(1, kvstore=hostile, trial="a", failure=""),
        trial(1, kvstore="'\"><img src=http://x/ onerror=alert(1)>", trial="b"),
        trial(2, kvstore=hostile, trial="c", status="failed", failure="<img src=x onerror=alert(1)>"),
    ]
    paths = write_run(tmp_path, *rows, kvstore=[hostile, "b"])
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    manifest["command"] = "harness sweep '</pre><script>x</script>'"
    paths.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    source, words, checker = read(make_report(paths).read_text(encoding="utf-8"))
    assert "<script" not in source
    assert "<img" not in source
    assert hostile in words
    assert all(reference.startswith("#") for reference in checker.references)


def test_failed_and_suspect_trials_are_listed_with_their_reason(tmp_path: Path) -> None:
    rows = [trial(1), trial(2, status="suspect"), trial(4, status="failed", failure="worker3 on pi4 ran out of memory")]
    _, words, _ = rendered(write_run(tmp_path, *rows))
    assert "worker3 on pi4 ran out of memory" in words
    assert "Failed and left out of every curve: 1 trial" in words
    assert "Suspect, counted and drawn hollow: 1 trial" in words


def test_only_failures_are_said_to_be_just_that(tmp_path: Path) -> None:
    rows = [trial(n, status="failed", failure="no route") for n in (1, 2)]
    paths = write_run(tmp_path, *rows, telemetry=False)
    source, words, _ = read(make_report(paths).read_text(encoding="utf-8"))
    assert "No trial was measured: all 2 that ran failed." in words
    assert "<svg" not in source
    assert list(paths.figures.iterdir()) == []


def test_a_run_that_was_cut_off_is_reported_as_far_as_it_got(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1), trial(2))
    whole = paths.trials.read_text(encoding="utf-8")
    paths.trials.write_text(whole[: whole.rindex("dist_sync")], encoding="utf-8")
    paths.telemetry.unlink()
    _, words, _ = rendered(paths)
    assert "The last line of trials.csv was cut off and is left out." in words
    assert "Trial n02-r1 has epochs (up to 2) but no result: left out." in words
    assert "Only 1 node was measured" in words


@pytest.mark.parametrize("name", ["trials.csv", "epochs.csv", "telemetry.csv"])
def test_any_cut_of_any_table_still_makes_a_report(tmp_path: Path, name: str) -> None:
    paths = write_run(tmp_path, trial(1), trial(2))
    whole = (tmp_path / name).read_bytes()
    for cut in range(0, len(whole), 211):
        (tmp_path / name).write_bytes(whole[:cut])
        summary(paths)


def test_a_manifest_and_nothing_else_is_a_run(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1))
    paths.trials.unlink()
    paths.epochs.unlink()
    paths.telemetry.unlink()
    _, words, _ = rendered(paths)
    assert "No trial was measured." in words


def test_no_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="holds no run"):
        load_run(RunPaths(tmp_path))


def test_a_manifest_that_is_no_json_is_bad_input(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1))
    paths.manifest.write_text("{", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"manifest\.json"):
        load_run(paths)


def test_tables_keep_words_as_words(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("trial,node,kvstore,x,throttled\n1,007,none,1.5,50000\n2,8,,,0x0\ntorn\n3,9", encoding="utf-8")
    frame, notes = read_table(table)
    assert frame["kvstore"].iloc[0] == "none"
    assert list(frame["node"]) == ["007", "8"]
    assert list(frame["throttled"]) == ["50000", "0x0"]
    assert frame["x"].iloc[0] == 1.5
    assert frame["x"].isna().tolist() == [False, True]
    assert notes == (
        "The last line of table.csv was cut off and is left out.",
        "1 damaged line(s) of table.csv are left out.",
    )


def on_80_columns(paths: RunPaths) -> str:
    console = Console(width=80, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(paths))
    return capture.get()


def test_the_terminal_gets_a_table_that_fits(tmp_path: Path) -> None:
    rows = [row for n in (1, 2) for row in (trial(n), trial(n, kvstore="none", trial=f"c{n}"))]
    paths = write_run(tmp_path, *rows, trial(4, status="failed"), kvstore=["dist_sync", "none"])
    shown = on_80_columns(paths)
    assert "…" not in shown
    assert "none (control: independent training)" in shown
    assert "1 failed and left out" in shown
    assert re.search(r"2\s+26\.0\s+57\.0\s+1\.92\s+100%", shown)
    assert "efficiency: of the same nodes training independently" in " ".join(shown.split())


def test_without_a_control_efficiency_is_relative_to_the_smallest_size(tmp_path: Path) -> None:
    shown = on_80_columns(write_run(tmp_path, trial(1), trial(2)))
    assert re.search(r"2\s+26\.0\s+57\.0\s+1\.92\s+96%", shown)
    assert "efficiency: speed-up over growth in nodes" in shown


def test_the_target_is_asked_for_in_per_cent(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1))
    asked = CliRunner().invoke(app, ["report", str(paths.root), "--target", "90"])
    assert asked.exit_code == 0, asked.output
    assert "s to 90.0%" in asked.output
    assert CliRunner().invoke(app, ["report", str(paths.root), "--target", "0.9"]).exit_code == 2


def test_inlined_figures_follow_the_page() -> None:
    document = (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/y">'
        '<svg width="9pt" height="8pt" viewBox="0 0 9 8" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://z">'
        '<style type="text/css">*{a}</style><g id="a" style="fill: #0072b2; stroke: #123456"/>'
        '<use xlink:href="#a" clip-path="url(#b)"/><text>id="a" #0072b2</text></svg>'
    )
    assert svg.inline(document, "f", {"#0072b2": "#56a9e0"}) == (
        '<svg viewBox="0 0 9 8"><g id="f-a" style="fill: var(--c-0072b2); stroke: #123456"/>'
        '<use href="#f-a" clip-path="url(#f-b)"/><text>id="a" #0072b2</text></svg>'
    )


def test_provenance_counts_equal_nodes_and_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    paths = write_run(tmp_path, trial(1))
    rows = dict(essentials(json.loads(paths.manifest.read_text(encoding="utf-8"))))
    assert rows["nodes"] == "3 × aarch64, 4 cores"  # noqa: RUF001
    assert rows["runtime"] == "3 × mxnet 1.9.1"  # noqa: RUF001
    assert rows["git revision"] == "0123abc, with changes since"
    assert rows["seeds"] == "0"
    assert "memory" not in rows
    assert essentials({}) == []
    assert flatten({"a": {"b": [1, 2], "c": [{"d": None}]}}) == [("a.b", "1, 2"), ("a.c[0].d", "")]


def test_provenance_tells_of_nodes_that_differ() -> None:
    manifest = {
        "cluster": {
            "virtual": {"quota": {"fraction": 0.15}, "node_quotas": {"node03": {"profile": "pi4", "fraction": 0.25}}}
        },
        "rates": {"nodes": {"node03": {"fixed_seconds": 0.0123, "image_seconds": 0.001}, "node04": {}}},
    }
    rows = dict(essentials(manifest))
    assert rows["other profiles"] == "node03: pi4, 0.25 of a core"
    assert rows["batches by rate"] == "node03: 12.3 ms a step and 1 ms an image; node04"
    manifest["cluster"]["kind"] = "virtual"
    assert "0.15 of a core each, but node03 0.25" in read_facts(manifest).emulation


def test_of_machines_that_are_all_unlike_nothing_is_said_of_a_common_profile() -> None:
    own = {f"node0{number}": {"profile": "pi4", "fraction": 0.1149} for number in (1, 2)}
    own["node03"] = {"profile": "laptop", "fraction": 0.5}
    virtual = {
        "options": {"profile": "pi3", "memory": "1GiB", "machines": {name: {} for name in own}},
        "quota": {"profile": "pi3", "fraction": 0.059, "board": {"description": "Raspberry Pi 3"}},
        "node_quotas": own,
        "nodes": dict.fromkeys(own, "10.0.0.1"),
    }
    manifest = {"cluster": {"kind": "virtual", "virtual": virtual}}
    rows = dict(essentials(manifest))
    assert rows.keys() & {"profile", "board", "memory", "other profiles"} == set()
    assert (
        rows["profiles"]
        == "node01: pi4, 0.1149 of a core; node02: pi4, 0.1149 of a core; node03: laptop, 0.5 of a core"
    )
    said = read_facts(manifest).emulation
    assert "(2 of profile pi4 at 0.115 of a core a thread, 1 of profile laptop at 0.5 of a core a thread)" in said
