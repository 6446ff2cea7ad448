"""What workers send, against figures that were worked out by hand and measured; MB a step with batches of 64."""

from __future__ import annotations

import pytest
from training import models, options
from training.errors import ProgramError
from training.estimates.computing import Work
from training.estimates.traffic import Traffic, factored, traffic
from training.kvstores.allreduce.dense import factor_bytes
from training.rules.common.cadence import Cadence, cadence_of

STEPS = 85  # of an epoch of MNIST on 11 workers


def moved(
    *arguments: str, model: str = "lenet5", classes: int = 10, workers: int = 11, servers: int | None = None
) -> Traffic:
    chosen = options.parse(["--dataset=mnist", f"--model={model}", *arguments])
    found = traffic(models.load(model, classes), chosen, workers=workers, servers=servers, steps=STEPS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "classes", "summed", "as_factors"),
    [
        ("lenet5", 10, {2: 0.247, 4: 0.370, 11: 0.449}, {2: 0.187, 4: 0.370, 11: 0.449}),
        ("lenet", 10, {2: 1.72, 4: 2.59, 8: 3.02, 11: 3.14}, {2: 0.46, 4: 1.18, 8: 2.54, 11: 3.14}),
        ("alexnet_32", 10, {2: 93, 4: 140, 11: 169}, {2: 12.6, 4: 24.0, 11: 50.8}),
        ("resnet20", 10, {2: 1.08, 4: 1.62, 11: 1.96}, {2: 1.08, 4: 1.62, 11: 1.96}),
        ("resnet18", 1000, {2: 46.8, 4: 70.1, 11: 85.0}, {2: 45.1, 4: 68.2, 11: 85.0}),
        ("alexnet", 1000, {2: 244, 4: 367, 11: 444}, {2: 17, 4: 35, 11: 86}),
    ],
)
def test_bytes_of_six_models(model: str, classes: int, summed: dict[int, float], as_factors: dict[int, float]) -> None:
    for how, figures in (("sum", summed), ("auto", as_factors)):
        for workers, megabytes in figures.items():
            found = moved(
                "--kvstore=allreduce", f"--dense-gradients={how}", model=model, classes=classes, workers=workers
            )
            assert found.sent_bytes / 1e6 == pytest.approx(megabytes, rel=0.02), (how, workers)
            assert (found.exact, found.one_model, found.meetings) == (True, True, STEPS)


def test_the_first_buffer_s_bytes_hide_behind_nothing_and_the_rest_behind_its_layers() -> None:
    found = moved("--kvstore=allreduce", workers=4)
    first = 6 * 25 + 6 + 16 * 6 * 25 + 16
    assert found.shown_bytes == pytest.approx(2 * 3 / 4 * first * 4)
    lenet = models.load("lenet5", 10)
    assert found.hides == pytest.approx(Work(lenet, 64).share(lenet.parts([4, 6])[0]))
    assert 0.5 < found.hides < 1
    seldom = moved("--kvstore=allreduce", "--synchronise-every=2", workers=4)
    assert seldom.shown_bytes == seldom.phased_bytes
    dense = moved("--kvstore=allreduce", model="alexnet_32", workers=2)
    *factored, last = models.load("alexnet_32", 10).dense_layers()
    factors = sum(factor_bytes(layer, 2, 2 * 64) for layer in factored)
    assert dense.sent_bytes - dense.shown_bytes == pytest.approx(factors + last.size * 4)


def test_all_get_all_of_what_is_split_at_an_epoch_s_end() -> None:
    split = moved("--kvstore=allreduce", "--strategy=split", "--batch-size=4", model="alexnet_32", workers=4)
    size = sum(layer.size for layer in models.load("alexnet_32", 10).dense_layers())
    assert split.told_bytes == pytest.approx(size * 3 / 4 * 4, rel=0.01)
    assert split.fixed < 0.5 < split.images == 1


def test_bfloat16_halves_the_bytes_of_sums_and_is_other_mathematics() -> None:
    sums, halved = moved("--kvstore=allreduce"), moved("--kvstore=allreduce", "--wire=bfloat16")
    assert halved.sent_bytes == pytest.approx(sums.sent_bytes / 2)
    assert (sums.exact, halved.exact) == (True, False)
    dense = moved("--kvstore=allreduce", "--wire=bfloat16", model="alexnet_32", workers=2)
    assert dense.sent_bytes / 1e6 == pytest.approx(93 / 2, rel=0.01)  # never as factors


def test_meeting_now_and_then_moves_what_the_published_recipe_did() -> None:
    often = moved("--kvstore=allreduce", "--epochs=10")
    seldom = moved("--kvstore=allreduce", "--rule=average", "--meet-every=17", "--epochs=10")
    assert often.meetings * often.sent_bytes * 10 / 1e6 == pytest.approx(381.5, rel=0.001)
    assert seldom.meetings * seldom.sent_bytes * 10 / 1e6 == pytest.approx(22.4, rel=0.005)
    assert (seldom.exact, seldom.hides, seldom.one_model) == (False, 0.0, True)
    assert moved("--kvstore=allreduce", "--cadence=epoch").meetings == 1
    assert moved("--kvstore=allreduce", "--cadence=once", "--epochs=4").meetings == 0.25


@pytest.mark.parametrize(
    ("arguments", "steps", "epochs"),
    [
        (["--synchronise-every=10"], 25, 3),
        (["--meet-every=10"], 25, 3),
        (["--meet-every=7"], 20, 2),
        (["--cadence=post_local", "--meet-always-for=9", "--meet-every=4"], 11, 3),
        (["--cadence=post_local", "--meet-always-for=99", "--meet-every=4"], 11, 3),
        (["--cadence=epoch"], 5, 3),
        ([], 5, 3),
    ],
)
def test_meetings_are_counted_as_a_worker_counts_them(arguments: list[str], steps: int, epochs: int) -> None:
    chosen = options.parse(["--kvstore=allreduce", *arguments])
    told = cadence_of(chosen.own, chosen.synchronise_every).meetings(steps, epochs)
    assert told == _walked(cadence_of(chosen.own, chosen.synchronise_every), steps, epochs) / epochs


def _walked(cadence: Cadence, steps: int, epochs: int) -> int:
    """Meetings of a run, one step after the other."""
    meetings = 0
    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            if cadence.advance():
                cadence.met()
                meetings += 1
        if (cadence.at_epochs or epoch == epochs) and cadence.alone:
            cadence.met()
            meetings += 1
    return meetings


def test_one_server_takes_and_gives_everything_and_many_share_it() -> None:
    one, all_nodes = moved("--kvstore=dist_sync", servers=1), moved("--kvstore=dist_sync")
    assert one.phased_bytes == 2 * 10 * 61_706 * 4
    assert one.sent_bytes == 10 * 61_706 * 4
    assert one.total_bytes == all_nodes.total_bytes == 2 * 10 * 61_706 * 4
    assert one.requests == 2 * 10 < all_nodes.requests  # arrays that are cut are asked for slice by slice
    sums = moved("--kvstore=allreduce").sent_bytes
    assert sums < all_nodes.sent_bytes < 1.2 * sums
    two_bit = moved("--kvstore=dist_sync", "--wire=2bit")
    assert 0.5 < two_bit.phased_bytes / all_nodes.phased_bytes < 0.6
    assert (one.exact, two_bit.exact, moved("--kvstore=dist_async").exact) == (True, False, False)


def test_who_is_alone_or_meets_nobody_sends_nothing() -> None:
    assert moved("--kvstore=dist_sync", workers=1) == Traffic(0, 0, 0, hides=0.0, exact=True, one_model=True)
    assert moved("--kvstore=none") == Traffic(0, 0, 0, hides=0.0, exact=False, one_model=False)


def test_what_is_not_known_is_not_guessed() -> None:
    chosen = options.parse(["--kvstore=dist_async", "--rule=downpour"])
    assert traffic(models.load("lenet5", 10), chosen, workers=2, servers=None, steps=STEPS) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dense-gradients=sum"],
        ["--accumulate=2"],
        ["--wire=bfloat16"],
        ["--rule=average"],
        ["--synchronise-every=2"],
        ["--engine=torch"],
    ],
)
def test_gradients_travel_as_sums_where_the_store_has_no_factors(arguments: list[str]) -> None:
    alexnet = models.load("alexnet_32", 10)
    assert factored(alexnet, options.parse(["--kvstore=allreduce"]), 2)
    assert factored(alexnet, options.parse(["--kvstore=allreduce", *arguments]), 2) == []


def test_contradictory_parameters_are_the_program_s_own_fault() -> None:
    with pytest.raises(ProgramError, match="cadence"):
        moved("--kvstore=allreduce", "--synchronise-every=2", "--meet-every=3")


def test_operations_are_those_of_convolutions_and_dense_layers() -> None:
    by_hand = 6 * 25 * 28 * 28 + 16 * 6 * 25 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
    assert models.load("lenet5", 10).operations() == by_hand
    assert models.load("resnet20", 10).operations() == pytest.approx(40.6e6, rel=0.01)
    assert models.load("resnet18", 1000).operations() == pytest.approx(1.81e9, rel=0.01)
