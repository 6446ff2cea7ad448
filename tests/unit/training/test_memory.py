from __future__ import annotations

import json
from pathlib import Path

import pytest
from training import datasets, models, options, program
from training.errors import ProgramError
from training.memory import Demand, Need, check, in_pieces, need, validation_batch

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


def test_larger_models_and_batches_and_other_engines_need_more(patches: datasets.Dataset) -> None:
    def of(model: str, engine: str = "mxnet", *, held: int = 0) -> Need:
        return need(models.load(model, 10), patches.nbytes, engine, held=held)

    assert of("resnet20").fixed < of("vgg11").fixed < of("alexnet_32").fixed
    assert of("resnet20").an_image > of("squeezenet_32").an_image
    assert of("resnet20").fixed < of("resnet20", "torch").fixed
    assert of("vgg11").fixed + 4000 == of("vgg11", held=1000).fixed


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
