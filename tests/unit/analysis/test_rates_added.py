"""One definition of images per second, and of what the same nodes do independently."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from report_runs import manifest, trial

from harness.analysis.analysis import Analysis, analyse
from harness.analysis.rates import added_rates, rates_added_up, steady_rows
from tests.bench.measures import rate_of

NOON = pd.Timestamp("2031-01-01T12:00:00Z")


def rows_of(starts: dict[int, float], seconds: dict[int, float], count: int, dilation: float = 1.0) -> pd.DataFrame:
    """Workers of a trial that begin at `starts` (s) and take `seconds` for each of `count` epochs of 10 steps, 640 images."""
    rows: list[dict[str, Any]] = [
        {
            "trial": "n02-r1",
            "rank": rank,
            "node": f"pi{rank + 1}",
            "epoch": epoch,
            "time": (NOON + pd.Timedelta(seconds=start + dilation * epoch * seconds[rank])).isoformat(),
            "steps": 10,
            "images": 640,
            "train_seconds": seconds[rank],
            "validation_seconds": None,
            "wait_seconds": 0.0,
            "cpu_seconds": 0.2,
            "bytes_sent": 1,
            "packets_sent": 1,
            "packets_received": 1,
            **{f"{phase}_seconds": 0.1 for phase in ("data", "forward", "backward", "push", "pull", "update")},
        }
        for rank, start in starts.items()
        for epoch in range(1, count + 1)
    ]
    return pd.DataFrame(rows)


def analysed(epochs: pd.DataFrame, **about: Any) -> Analysis:
    row = trial(2, images=640 * len(epochs), train_seconds=20.0, images_per_train_second=None)
    return analyse(pd.DataFrame([row]), epochs, pd.DataFrame(), {**manifest([2]), **about})


@pytest.mark.parametrize("dilation", [1.0, 4.0])
def test_report_and_bench_have_the_same_rate(dilation: float) -> None:
    rows = rows_of({0: 0.0, 1: 3.0}, {0: 1.0, 1: 2.0}, 8, dilation)
    rows.loc[(rows["rank"] == 0) & (rows["epoch"] <= 3), "train_seconds"] = 0.5  # alone it was faster
    about = manifest([2])["cluster"] | {"time_dilation": dilation}
    found = analysed(rows.astype({"validation_seconds": float}), cluster=about)
    rate = rate_of(rows.astype({"validation_seconds": float}), dilation).images_per_second
    assert found.trials["images_per_second"].iloc[0] == pytest.approx(rate)


def test_only_epochs_in_which_all_workers_train_count() -> None:
    rows = rows_of({0: 0.0, 1: 3.0}, {0: 1.0, 1: 1.0}, 8).astype({"validation_seconds": float})
    rows.loc[(rows["rank"] == 0) & (rows["epoch"] <= 3), "train_seconds"] = 0.5
    steady = steady_rows(rows)
    assert steady["together"].all()
    assert set(steady[steady["rank"] == 0]["epoch"]) == {5, 6, 7, 8}
    assert added_rates(steady)["steady_rate"].iloc[0] == pytest.approx(2 * 640)


def test_workers_that_never_train_together_count_whole_with_a_note() -> None:
    rows = rows_of({0: 0.0, 1: 60.0}, {0: 1.0, 1: 2.0}, 4).astype({"validation_seconds": float})
    found = analysed(rows)
    assert found.trials["images_per_second"].iloc[0] == pytest.approx(640 / 1 + 640 / 2)
    assert "Images per second are of times when not all workers trained at once: n02-r1." in found.notes
    assert not any("at once" in note for note in analysed(rows_of({0: 0.0, 1: 0.0}, {0: 1.0, 1: 1.0}, 4)).notes)


def rates(**nodes: float) -> dict[str, Any]:
    """Rates of nodes that take so many seconds an image and 0.1 s a step."""
    found = {node: {"fixed_seconds": 0.1, "image_seconds": image} for node, image in nodes.items()}
    return {"about": {"program": "train.py", "model": "lenet5"}, "nodes": found}


def test_without_a_control_efficiency_is_of_the_nodes_rates_added_up() -> None:
    # steps of 64 images: 0.1 + 0.064 s and 0.1 + 0.128 s alone, 0.5 s in the trial
    rows = rows_of({0: 0.0, 1: 0.0}, {0: 5.0, 1: 5.0}, 4)
    found = analysed(rows, rates=rates(pi1=0.001, pi2=0.002))
    alone = 64 / 0.164 + 64 / 0.228
    assert found.efficiency_basis == "independent"
    assert found.trials["independent_images_per_second"].iloc[0] == pytest.approx(alone)
    assert found.trials["efficiency"].iloc[0] == pytest.approx(2 * 64 / 0.5 / alone)


def test_rates_of_another_model_or_of_fewer_nodes_say_nothing() -> None:
    rows = rows_of({0: 0.0, 1: 0.0}, {0: 5.0, 1: 5.0}, 4)
    assert rates_added_up(rows, rates(pi1=0.001)["nodes"]).isna().all()
    row = trial(2, model="lenet")
    about = {**manifest([2]), "rates": rates(pi1=0.001, pi2=0.002)}
    found = analyse(pd.DataFrame([row]), rows, pd.DataFrame(), about)
    assert found.efficiency_basis == "smallest size"


def test_the_name_in_earlier_runs_is_read() -> None:
    row = trial(2)
    row["images_per_second"] = row.pop("images_per_train_second")
    found = analyse(pd.DataFrame([row]), pd.DataFrame(), pd.DataFrame(), manifest([2]))
    assert found.trials["images_per_second"].iloc[0] == pytest.approx(row["images_per_second"])
