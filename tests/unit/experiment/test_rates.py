"""Rates: the fit, how a global batch is shared, and the file they travel in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInputError
from harness.experiment.rates import Rate, fit, parse_rates, rate_rows, rates_text, share, step_samples
from harness.nodes.inventory import Node
from harness.sweep.benchmark import load_rates

SECONDS = st.floats(1e-5, 10)
RATES = st.lists(st.builds(Rate, st.just("n"), st.just("a"), st.floats(0, 10), SECONDS), min_size=1, max_size=11)


def rate(fixed: float, image: float, node: str = "node01") -> Rate:
    return Rate(node, f"10.0.0.{node[-1]}", fixed, image)


def node(name: str, address: str) -> Node:
    return Node(name, address, local=False, root="/opt/harness")


@given(st.floats(0, 10), SECONDS)
def test_a_fit_of_a_line_is_the_line(fixed: float, image: float) -> None:
    found = fit({size: fixed + size * image for size in (16, 64, 128)})
    assert found == (
        pytest.approx(fixed, rel=1e-3, abs=1e-3 * (fixed + 16 * image)),
        pytest.approx(image, rel=1e-3, abs=fixed * 1e-6),
    )


def test_a_fixed_cost_is_never_negative() -> None:
    fixed, image = fit({16: 0.010, 64: 0.080})
    assert fixed == 0
    assert 0.010 / 16 < image < 0.080 / 64


def test_more_images_are_never_free() -> None:
    fixed, image = fit({16: 0.08, 64: 0.07})
    assert fixed == 0
    assert image > 0


def test_equal_nodes_share_evenly_and_the_first_take_what_is_left() -> None:
    assert share(11, [rate(0.01, 0.001)] * 4) == (3, 3, 3, 2)


def test_shares_follow_the_rate_and_the_fixed_cost() -> None:
    assert share(64, [rate(0, 0.0044), rate(0, 0.002)]) == (20, 44)
    slow_to_begin = share(64, [rate(0.064, 0.002), rate(0, 0.002)])
    assert slow_to_begin == (16, 48)


def test_a_node_too_slow_for_any_share_gets_one_image() -> None:
    assert share(64, [rate(100, 1), rate(0, 0.001)]) == (1, 63)


@given(RATES, st.integers(0, 500))
def test_no_other_sharing_has_a_shorter_longest_step(rates: list[Rate], more: int) -> None:
    total = len(rates) + more
    images = share(total, rates)
    assert sum(images) == total
    assert min(images) >= 1
    longest = (
        max(each.step_seconds(count) for each, count in zip(rates, images, strict=True) if count > 1) if more else 0
    )
    for each, count in zip(rates, images, strict=True):
        assert each.step_seconds(count + 1) >= longest * (1 - 1e-12)


def test_fewer_images_than_nodes_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match="3 images are not one for each of 4 nodes"):
        share(3, [rate(0, 1)] * 4)


def test_first_epochs_are_left_out_and_the_median_taken() -> None:
    seconds = [9.0, 2.0, 8.0, 4.0]
    rows = [
        {"trial": "t", "node": "node01", "epoch": str(n), "steps": "20", "train_seconds": str(value)}
        for n, value in enumerate(seconds, 1)
    ]
    assert step_samples(rows, {"t": 16}) == {"node01": {16: 0.2}}


@pytest.mark.parametrize(
    ("cells", "unknown"),
    [
        ({"steps": "", "train_seconds": "1.0"}, "how many steps"),
        ({"steps": "0", "train_seconds": "1.0"}, "how many steps"),
        ({"steps": None, "train_seconds": "1.0"}, "how many steps"),
        ({"steps": "20", "train_seconds": "0.0"}, "how long"),
    ],
)
def test_an_epoch_that_does_not_tell_its_steps_is_refused(cells: dict[str, str | None], unknown: str) -> None:
    row = {"trial": "t", "node": "node01", "epoch": "2", **cells}
    with pytest.raises(BadInputError, match=f"t: epoch 2 on node01 does not say {unknown}") as refused:
        step_samples([row], {"t": 16})
    assert refused.value.remedy


def test_one_batch_size_tells_no_fixed_cost() -> None:
    with pytest.raises(ValueError, match="those of 16"):
        fit({16: 0.1})


def test_a_file_gives_back_the_rates() -> None:
    rates = [rate(0.0123, 0.001), rate(0, 0.0045, "node02")]
    text = rates_text({"model": "lenet5", "inventory": "a\nb"}, rate_rows(rates, 64))
    assert text.splitlines()[:3] == [
        "# model: lenet5",
        "# inventory: a b",
        "node,address,images_per_second,image_milliseconds,fixed_milliseconds,share",
    ]
    read = parse_rates(text, "rates.csv")
    assert read.about == {"model": "lenet5", "inventory": "a b"}
    assert read.of([node("node02", "10.0.0.2"), node("node01", "10.0.0.1")]) == rates[::-1]


@pytest.mark.parametrize(
    ("there", "message"),
    [(node("node03", "10.0.0.3"), "no node node03"), (node("node01", "10.0.0.9"), "now it has 10.0.0.9")],
)
def test_another_inventory_is_refused(there: Node, message: str) -> None:
    read = parse_rates(rates_text({}, rate_rows([rate(0, 0.001)], 64)), "rates.csv")
    with pytest.raises(BadInputError, match=message):
        read.of([there])


@pytest.mark.parametrize(
    "text",
    ["", "trial,status\nn01,ok\n", "node,address,image_milliseconds,fixed_milliseconds\na,1,x,0\n",
     "node,address,image_milliseconds,fixed_milliseconds\na,1,0,0\n"],
)  # fmt: skip
def test_what_is_no_rates_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"rates\.csv"):
        load_rates(path)


def test_a_missing_file_or_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read rates"):
        load_rates(tmp_path / "absent")
    with pytest.raises(BadInputError, match="no run directory"):
        load_rates(tmp_path)
