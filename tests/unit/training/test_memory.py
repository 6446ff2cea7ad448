from __future__ import annotations

import json
from pathlib import Path

import pytest
from training import datasets, models, options, program
from training.errors import ProgramError
from training.memory import Demand, check, in_pieces, validation_batch
from training.memory.need import Need
from training.models.architecture import clipped_of

MIB = 1 << 20


@pytest.fixture(scope="module")
def patches() -> datasets.Dataset:
    return datasets.load("patches", Path("unused"), 1000)


def ask(*arguments: str) -> options.Options:
    return options.parse(["--dataset=patches", "--kvstore=none", *arguments])


def test_a_need_grows_with_the_images_that_are_computed_at_once() -> None:
    one = Need(300 * MIB, 2 * MIB)
    assert one.of(10) == 320 * MIB
    assert one.of(one.most(1024 * MIB)) <= 1024 * MIB - 64_000_000
    assert one.of(one.most(1024 * MIB) + 1) > 1024 * MIB - 64_000_000
    assert one.most(300 * MIB) == 0


def test_a_node_that_cannot_even_begin_fits_nothing() -> None:
    one = Need(300 * MIB, 2 * MIB, start=400 * MIB)
    assert one.of(10) == 400 * MIB
    assert one.of(100) == 500 * MIB
    assert one.most(400 * MIB) == 0
    assert one.most(500 * MIB) > 0


def test_larger_models_batches_engines_momentum_and_validation_need_more(patches: datasets.Dataset) -> None:
    def of(model: str, *arguments: str) -> int:
        asked = ask(f"--model={model}", *(arguments or ("--batch-size=1",)), "--no-validation")
        return Demand(models.load(model, 10), patches.nbytes, asked).nbytes

    assert of("resnet20") < of("vgg11") < of("alexnet_32")
    assert of("resnet20", "--batch-size=64") > of("squeezenet_32", "--batch-size=64")
    assert of("resnet20") < of("resnet20", "--batch-size=1", "--engine=torch")
    values = models.load("vgg11", 10).parameters()
    assert of("vgg11", "--batch-size=1", "--momentum=0.9") == of("vgg11") + 4 * values
    assert of("resnet20") < of("resnet20", "--augmentation=crop_flip", "--batch-size=1")
    validated = Demand(models.load("resnet20", 10), patches.nbytes, ask("--model=resnet20", "--batch-size=1"))
    assert of("resnet20") < validated.nbytes


def test_a_gradient_that_is_added_has_a_place_of_its_own_before(patches: datasets.Dataset) -> None:
    vgg = models.load("vgg11", 10)

    def of(*arguments: str) -> int:
        return Demand(vgg, patches.nbytes, ask("--model=vgg11", *arguments), 2).nbytes

    assert of("--batch-size=64", "--accumulate=4") == of("--batch-size=16") + 4 * max(vgg.sizes())


def test_what_relu6_makes_is_counted_beside_outputs() -> None:
    architecture = models.load("mobilenet_v2_32", 10)
    assert 0.4 < clipped_of(architecture.placed) / sum(architecture.outputs()) < 0.5
    assert clipped_of(models.load("resnet20", 10).placed) == 0


def test_one_worker_holds_no_sums() -> None:
    alexnet = models.load("alexnet_32", 10)

    def of(workers: int, *arguments: str) -> int:
        return Demand(alexnet, 0, ask("--model=alexnet_32", *arguments), workers).nbytes

    sums = ("--kvstore=allreduce", "--dense-gradients=sum")
    assert of(1, *sums) == of(1)
    assert of(2, *sums) - of(2) == pytest.approx(1.5 * 4 * alexnet.parameters())


def test_what_does_not_fit_is_refused_with_what_does(patches: datasets.Dataset) -> None:
    model = models.load("resnet18_32", 10)
    asked = ask("--model=resnet18_32", "--batch-size=1024")
    check(model, patches, asked, {})  # nothing is known of the node
    check(model, patches, asked, {"HARNESS_MEMORY_BYTES": str(64 << 30)})
    with pytest.raises(ProgramError, match="resnet18_32 with 1024 images at once needs about") as caught:
        check(model, patches, asked, {"HARNESS_MEMORY_BYTES": str(1 << 30), "HARNESS_NODE": "pi03"})
    assert "pi03 has 1073 MB" in caught.value.message
    words = caught.value.remedy.split()
    fits, pieces = int(words[words.index("--batch-size") + 1]), int(words[words.index("--accumulate") + 1])
    assert 1024 % pieces == 0
    for remedy in ([f"--batch-size={fits}"], ["--batch-size=1024", f"--accumulate={pieces}"]):
        check(model, patches, ask("--model=resnet18_32", *remedy), {"HARNESS_MEMORY_BYTES": str(1 << 30)})
    with pytest.raises(ProgramError):
        check(
            model,
            patches,
            ask("--model=resnet18_32", f"--batch-size={fits + 1}"),
            {"HARNESS_MEMORY_BYTES": str(1 << 30)},
        )


def test_alexnet_fits_a_gibibyte_where_its_dense_gradients_travel_as_factors(patches: datasets.Dataset) -> None:
    model, environment = models.load("alexnet", 10), {"HARNESS_MEMORY_BYTES": str(1 << 30), "HARNESS_WORLD_SIZE": "4"}
    asked = ["--model=alexnet", "--batch-size=16", "--kvstore=allreduce"]
    check(model, patches, ask(*asked), environment)
    with pytest.raises(ProgramError, match="alexnet with 16 images"):
        check(model, patches, ask(*asked, "--dense-gradients=sum"), environment)


def test_the_program_ends_before_it_loads_an_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_MEMORY_BYTES", str(512 * MIB))
    asked = ["--model=vgg11", "--dataset=patches", "--limit=2000", "--batch-size=512", "--kvstore=none"]
    assert program.main(asked) == 2
    event = json.loads(capsys.readouterr().out)
    assert event["message"].startswith("vgg11 with 512 images at once needs about")
    assert "--accumulate" in event["remedy"]


def test_a_node_on_which_not_even_one_image_fits_is_named_without_a_batch(patches: datasets.Dataset) -> None:
    with pytest.raises(ProgramError, match="needs about") as caught:
        check(models.load("alexnet", 10), patches, ask("--model=alexnet"), {"HARNESS_MEMORY_BYTES": str(256 * MIB)})
    assert "--batch-size" not in caught.value.remedy


def test_pieces_are_equally_large() -> None:
    assert in_pieces(64, 4) == 16
    with pytest.raises(ProgramError, match="20 images cannot be cut into 8 equal pieces"):
        in_pieces(20, 8)


def test_validation_takes_fewer_images_where_layers_are_large() -> None:
    assert validation_batch(models.load("lenet5", 10)) == 256
    assert 1 <= validation_batch(models.load("resnet18", 10)) < 16


def test_the_largest_batch_and_the_fewest_pieces_are_exact(patches: datasets.Dataset) -> None:
    memory = 1 << 30
    for arguments in (["--kvstore=none"], ["--kvstore=allreduce"], ["--kvstore=allreduce", "--accumulate=2"]):
        chosen = ask("--model=alexnet_32", "--batch-size=4096", *arguments)
        demand = Demand(models.load("alexnet_32", 10), patches.nbytes, chosen, workers=4)
        largest, step = demand.largest(memory), chosen.accumulate
        assert largest % step == 0
        assert demand.fits(memory, batch=largest)
        assert not demand.fits(memory, batch=largest + step)
        pieces = demand.pieces(memory)
        assert pieces
        assert 4096 % pieces == 0
        assert demand.fits(memory, pieces=pieces)


def test_the_images_of_a_data_set_take_as_much_as_its_entry_says() -> None:
    for name, model in (("digits", "lenet5"), ("patches", "resnet20"), ("patches", "resnet18")):
        entry, architecture = datasets.named(name), models.load(model, 10)
        loaded = datasets.load(name, Path("unused"), 1000).holding_out(100)
        assert entry.counts
        form = datasets.Form(*entry.counts, entry.images[0], entry.images[2])
        assert form == datasets.load(name, Path("unused")).form
        kept = loaded.fitted(architecture.side, architecture.channels)
        assert form.cut(1000, 100).nbytes(architecture.side, architecture.channels) == kept.nbytes


def test_colours_and_sizes_that_do_not_fit_are_refused_before_anything_is_read() -> None:
    form = datasets.Form(100, 10, 8, 1)
    with pytest.raises(ProgramError, match="channels: 1, the model takes: 3"):
        form.nbytes(32, 3)
    with pytest.raises(ProgramError, match="do not fit the model's 9x9"):
        form.nbytes(9, 1)
    assert form.cut(5, 9) == datasets.Form(0, 9, 8, 1)
