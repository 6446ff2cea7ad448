"""Table I's bars and curves from rows of CSVs, and the page made of them."""

from __future__ import annotations

from pathlib import Path

from tests.bench import table1_figure
from tests.bench.table1_numbers import ALL, Tables, bars, curves


def trial(variant: str, nodes: int, seconds: float, trees: int = 8000, **more: str) -> dict[str, str]:
    return {
        "trial": f"n{nodes:02d}-{variant}", "variant": variant, "nodes": str(nodes), "status": "ok", "images": str(trees),
        "trees": str(trees), "train_seconds": str(seconds), "best_seconds": str(seconds / 1.04), "redone": "",
        "weights_sha256": "a" * 64 if trees == 8000 else "b" * 64, "driver_cpu_seconds": "28", "scheduler_cpu_seconds": "8",
        **more,
    }  # fmt: skip


def rank(of: dict[str, str], number: int, node: str, images: int, sent: int = 0, result: int = 0) -> dict[str, str]:
    return {
        "trial": of["trial"], "rank": str(number), "node": node, "images": str(images),
        "train_seconds": of["train_seconds"], "bytes_sent": str(sent), "result_bytes": str(result),
    }  # fmt: skip


ALONE = trial("alone", ALL, 40.0, 400)
BATCHES = trial("batches", ALL, 30.0)
RUN = Tables(
    [trial("serial", 1, 50.0, 500), trial("corrected", 1, 25.0, 1000), trial("joblib", 2, 50.0, 2000),
     trial("joblib_whole", ALL, 90.0), BATCHES, ALONE],
    [*(rank(ALONE, number, f"node0{number + 1}", 400) for number in range(ALL)),
     rank(BATCHES, 0, "node02", 0),
     *(rank(BATCHES, number + 1, f"node0{number + 1}", images, 1_050_000, 1_000_000)
       for number, images in enumerate((1000, 3000, 1000, 1000, 1000, 1000)))],
)  # fmt: skip


def test_trials_of_fewer_trees_are_multiplied_and_the_ideal_is_of_added_rates() -> None:
    found = curves(RUN)
    assert found.again == {1: 800.0, 2: 200.0, 6: 90.0}
    assert found.ours == {1: 200.0, 6: 30.0}
    assert found.ideal[1] == 800.0
    assert found.ideal[6] == 8000 / 60
    assert found.best[6] == 30.0 / 1.04


def test_bars_are_judged_by_what_was_measured() -> None:
    killed = trial("batches", ALL, 38.0, redone="40")
    rows = [rank(killed, 0, "node02", 300)]
    rows += [rank(killed, number, f"node0{number}", 1500) for number in (1, 2, 4, 5, 6)]
    found = {row.what: row for row in bars(RUN, Tables([killed], rows), None, None, 38.5)}
    values = {what: row.median for what, row in found.items()}
    assert round(values["time over the best schedule by the run's rates, 30 cores"] or 0, 3) == 1.04
    assert values["joblib's Dask backend over batches, 30 cores"] == 3.0
    assert values["workers' bytes sent over their trees' bytes"] == 1.05
    assert values["different forests of 8,000 trees"] == 1
    # 700 trees that the lost worker did not send, by workers that did 7,000 in 30 s
    assert round(values["a worker killed in the middle: seconds beyond its trees'"] or 0, 6) == 5.0
    assert values["trees that were grown again for it"] == 40
    assert all(row.held is not False for row in found.values())
    assert found["grid search: efficiency by the nodes' rates"].held is None


def test_peers_are_told_by_how_much_longer_they_need() -> None:
    ours, alone = trial("batches", ALL, 10.0, 2000), trial("alone", ALL, 90.0, 2000)
    fastest = {**rank(alone, 1, "node02", 2000), "train_seconds": "20.0"}
    peers = Tables(
        [ours, alone, trial("joblib", ALL, 55.0, 2000), trial("ray", ALL, 30.0, 2000)],
        [rank(alone, 0, "node01", 2000), fastest],
    )
    found = {row.what: row.median for row in bars(RUN, None, None, peers, None) if row.what.startswith("2,000 trees")}
    assert found == {
        "2,000 trees: joblib's Dask backend over batches, 30 cores": 5.5,
        "2,000 trees: Ray's joblib backend over batches, 30 cores": 3.0,
        "2,000 trees: the fastest node by itself over batches on all": 2.0,
    }


def test_a_suspect_peer_is_called_so() -> None:
    ours, ray = trial("batches", ALL, 10.0, 2000), {**trial("ray", ALL, 30.0, 2000), "status": "suspect"}
    found = {row.what: row.median for row in bars(RUN, None, None, Tables([ours, ray], []), None)}
    assert found["2,000 trees: Ray's joblib backend over batches, 30 cores, suspect: the machine was too busy"] == 3.0


def test_what_failed_has_no_value() -> None:
    broken = Tables([{**BATCHES, "status": "failed"}], [])
    assert all(row.held is None for row in bars(broken, None, None, None, None) if row.bar)


def test_the_page_has_the_figure_its_sentence_and_both_tables(tmp_path: Path) -> None:
    found = curves(RUN)
    table1_figure.draw(found, tmp_path / "table1.png")
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")
    page = table1_figure.page(found, bars(RUN, None, None, None, 45.0), "sudo make")
    assert table1_figure.SENTENCE in page
    assert "| 30 | 124 | 90 | 30 | 133 |" in page
    assert "| whole Table I | 45.0 min | at most 40 | **no** |" in page
