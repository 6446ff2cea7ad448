"""Sentences of the report: right numbers, right words, nothing said that the run does not hold."""

from __future__ import annotations

import dataclasses
import math
import re

import pandas as pd
import pytest
from report_runs import epochs_of, example, manifest, trial

from harness.analysis.analysis import analyse
from harness.analysis.steps import wire_bound_seconds
from harness.display import text
from harness.report import findings
from harness.report.provenance import essentials


def said(*rows: dict[str, object], about: str = "observations", **axes: list[object]) -> str:
    analysis = example(*rows, **axes)
    found = findings.answer(analysis) if about == "answer" else findings.observations(analysis)
    return " ".join(sentence for finding in found for sentence in finding.sentences)


def test_the_answer_has_time_accuracy_and_the_cost_of_the_store() -> None:
    answer = said(trial(1), trial(4, validation_accuracy=0.95), about="answer")
    assert "From 1 to 4 nodes the time per epoch fell from 50.0 s to 15.5 s: speed-up 3.23, efficiency 81%." in answer
    assert "Validation accuracy after 2 epochs fell from 98.00% to 95.00%." in answer
    assert "At 4 nodes a worker waited for the store in 19% of the epoch's time." in answer
    assert "Time to 97.0% validation accuracy fell from 100 s to 31.0 s." in answer


def test_slower_is_called_slower() -> None:
    assert "rose from 50.0 s to 60.0 s" in said(
        trial(1), trial(2, train_seconds=110.0, validation_seconds=10.0), about="answer"
    )


def test_epochs_of_other_images_at_every_size_are_compared_by_their_rates() -> None:
    rows = trial(1), trial(4, images=2400, images_per_train_second=2400 / 26)
    answer = said(*rows, about="answer")
    assert "From 1 to 4 nodes the images per second rose from 10.0 to 93.2: speed-up 9.32" in answer
    analysis = dataclasses.replace(example(*rows), cpu_models=("stretched",))
    assert "Without any waiting" not in " ".join(findings.observations(analysis)[0].sentences)


def test_one_size_gives_no_speedup() -> None:
    answer = said(trial(3), about="answer")
    assert "Only 3 nodes was measured" in answer
    assert "speed-up needs a second size" in answer


def test_waiting_and_what_would_be_without_it() -> None:
    analysis = dataclasses.replace(example(trial(1), trial(4)), cpu_models=("stretched",))
    told = " ".join(findings.observations(analysis)[0].sentences)
    assert "Waiting for the store took 0% of an epoch at 1 node and 19% at 4 nodes." in told
    # 15.5 s less 3 s waiting; 50 s over that.
    assert (
        "would take 12.5 s instead of 15.5 s at 4 nodes and 50.0 s instead of 50.0 s at 1: speed-up 4.00 instead of 3.23"
        in told
    )


@pytest.mark.parametrize("models", [("quota",), ("none",), ("quota", "stretched")])
def test_what_would_be_without_waiting_is_not_said_of_nodes_that_compute_faster_after_it(
    models: tuple[str, ...],
) -> None:
    analysis = dataclasses.replace(example(trial(1), trial(4)), cpu_models=models)
    told = " ".join(findings.observations(analysis)[0].sentences)
    assert "Waiting for the store took" in told
    assert "Without any waiting" not in told


def test_no_more_than_the_nodes_is_promised_without_waiting() -> None:
    rows = [trial(1), trial(4, train_seconds=14.0)]  # 4 s an epoch of its own where a fourth would be 10
    analysis = dataclasses.replace(example(*rows), cpu_models=("stretched",))
    assert "Without any waiting" not in " ".join(findings.observations(analysis)[0].sentences)


def test_the_growing_global_batch_is_named() -> None:
    assert "batch per worker stayed at 10, so the global batch grew from 10 to 40" in said(trial(1), trial(4))


def test_the_wire_bound_needs_link_and_parameters() -> None:
    # 2 * 10/11 * 61,706 parameters * 32 bits over 100 Mbit/s.
    assert wire_bound_seconds(11, 61_706, 1e8) == pytest.approx(0.03590, abs=1e-5)
    told = said(trial(1, model_parameters=61_706), trial(4, model_parameters=61_706))
    assert "no less than 29.6 ms" in told
    assert "wire allows" not in said(trial(1), trial(4))


def test_a_shared_medium_carries_what_all_nodes_send_twice() -> None:
    assert wire_bound_seconds(11, 61_706, 3e7, shared=True) == pytest.approx(22 * wire_bound_seconds(11, 61_706, 3e7))
    row = trial(4, model_parameters=61_706)
    about = manifest([4])
    about["cluster"]["virtual"]["options"]["link"] = "wifi:30mbit"
    about["cluster"]["virtual"]["link"] = {"bits_per_second": 30_000_000}
    about["cluster"]["link"] = "wifi"
    analysis = analyse(pd.DataFrame([row]), pd.DataFrame(epochs_of(row)), pd.DataFrame(), about)
    told = " ".join(findings.observations(analysis)[0].sentences)
    # 29.6 ms of a link of 100 Mbit/s: 8 times, at 30.
    assert "the medium allows no less than 790 ms" in told
    assert "over 30 Mbit/s, of 4 nodes, each byte twice on the air, evenly spread" in told
    assert "wifi:30mbit, a medium that all share)" in analysis.facts.emulation
    assert ("link", "wifi:30mbit, a medium that all share") in essentials(about)


def test_the_slowest_worker_and_the_busiest_node_are_named() -> None:
    row = trial(4)
    epochs = epochs_of(row)
    for epoch in epochs:
        epoch["train_seconds"] += 5.0 if epoch["rank"] == 2 else 0.0
    analysis = analyse(pd.DataFrame([row]), pd.DataFrame(epochs), pd.DataFrame(), manifest([4]))
    told = " ".join(findings.observations(analysis)[0].sentences)
    # 15 s of its own an epoch against 10, 10 and 9.5.
    assert "slowest worker (pi3) was busy (training less waiting) 1.50 times" in told
    # Nodes 1 to 4 send 1 to 4 MB: the last 4 / 2.5 times the mean.
    assert "busiest node (pi4) sent 1.60 times" in said(trial(4))


def test_repeats_tell_the_noise() -> None:
    rows = [trial(1), trial(1, 2, train_seconds=90.0), trial(1, 3, train_seconds=82.0)]
    # Epochs of 50, 55 and 51 s.
    assert "differ by at most 9.8% in time per epoch (at 1 node)" in said(*rows)
    assert "Repeats" not in said(trial(1), trial(2))


def test_series_are_compared_at_the_largest_common_size() -> None:
    rows = [
        trial(1),
        trial(2, images_per_train_second=30.0),
        trial(1, trial="a", kvstore="other"),
        trial(2, trial="b", kvstore="other", images_per_train_second=60.0),
        trial(4, trial="c", kvstore="other"),
    ]
    told = findings.comparison(example(*rows, *again(rows), kvstore=["dist_sync", "other"]))
    assert told == "At 2 nodes other trained fastest: 60.7 images/s, 2.00 times dist_sync."
    assert findings.comparison(example(trial(1))) == ""


def test_one_trial_each_is_no_proof() -> None:
    rows = [trial(2, images_per_train_second=30.0), trial(2, trial="b", kvstore="other", images_per_train_second=60.0)]
    told = findings.comparison(example(*rows, kvstore=["dist_sync", "other"]))
    assert "one trial each" in told
    assert "2.00 times dist_sync" in told
    assert "fastest" not in told


def test_series_whose_intervals_overlap_are_not_ranked() -> None:
    rows = [
        trial(2, repeat, trial=f"{store}{repeat}", kvstore=store, images_per_train_second=rate)
        for store, rates in (("a", (40.0, 50.0, 60.0)), ("b", (45.0, 52.0, 70.0)), ("slow", (10.0, 11.0, 12.0)))
        for repeat, rate in enumerate(rates, start=1)
    ]
    told = findings.comparison(example(*rows, kvstore=["a", "b", "slow"]))
    assert "fastest" not in told
    assert "times slow (95%: " in told
    assert re.search(r"of 1\.\d\d times a \(95%: .*\) the intervals overlap", told)


def again(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same once more, as the second repeat."""
    return [{**row, "trial": f"{row['trial']}-again", "repeat": 2} for row in rows]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0381, "38.1 ms"),
        (4.214, "4.21 s"),
        (71.04, "71.0 s"),
        (119.7, "2 min 00 s"),
        (7380, "2 h 03 min"),
        (0, "0 ms"),
    ],
)
def test_durations(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


def test_an_end_of_a_ratio_that_is_open_is_said_to_be() -> None:
    assert text.between(1.93, 2.114, text.ratio) == "1.93 to 2.11"
    assert text.between(2.111, 2.114, text.ratio) == ""
    assert text.between(3.14, math.inf, text.ratio) == "at least 3.14"
    assert text.between(0.0, 5.97, text.ratio) == "at most 5.97"
    assert text.between(0.0, math.inf, text.ratio) == "no bound"
    assert text.between(17.7, math.inf, text.number, "...") == "17.7 ... never"
    assert text.between(0.0, 0.05, text.percent) == f"{text.percent(0.0)} to {text.percent(0.05)}"


def test_what_is_not_known_is_a_dash() -> None:
    shows = (text.seconds, text.percent, text.size, text.number, text.ratio, text.accuracy)
    assert {show(float("nan")) for show in shows} == {text.UNKNOWN}


@pytest.mark.parametrize(
    ("value", "shown"), [(999, "999 B"), (1234, "1.23 kB"), (5.6e7, "56.0 MB"), (2e12, "2,000 GB")]
)
def test_sizes(value: float, shown: str) -> None:
    assert text.size(value) == shown


def test_what_a_step_went_into_is_said_longest_first() -> None:
    told = said(trial(1), trial(4))
    assert (
        "Of a step of 1.29 s at 4 nodes the mean worker spent 400 ms in backward, 300 ms waiting for the store, "
        in told
    )
