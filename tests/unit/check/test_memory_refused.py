"""Trials that need more memory than their nodes have are refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from launch_parts import NODES, trial

from harness.check.memory import require_memory, setting_words
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.parameter import Value
from harness.launch.placement import Placement, SentCode, place_trial
from harness.nodes.inventory import Node

GIB = 1 << 30
LARGE: dict[str, Value] = {"model": "alexnet_32", "dataset": "patches", "kvstore": "allreduce", "batch_size": 2048}


def placed(
    name: str = "a", count: int = 2, memory: tuple[int | None, ...] = (GIB, GIB), **parameters: Value
) -> Placement:
    one = replace(trial(count), id=name, program=find_program("train.py"), parameters={**LARGE, **parameters})
    nodes = [replace(node, memory_bytes=bytes_) for node, bytes_ in zip(NODES, memory, strict=False)]
    return place_trial(one, nodes[:count], 9091, SentCode("x", {"train.py": "x/programs/train.py"}), "")


def refused(*placements: Placement) -> BadInputError:
    with pytest.raises(BadInputError) as caught:
        require_memory(placements)
    return caught.value


def test_model_batch_node_memory_and_the_largest_batch_are_named() -> None:
    error = refused(placed(memory=(4 * GIB, GIB)))
    assert error.message.startswith("trial a: alexnet_32 with 2048 images at once needs about ")
    assert error.message.endswith(" MB with mxnet, and b has 1073 MB")
    words = error.remedy.replace(",", "").split()
    batch, pieces = (next(word for word in words if word.startswith(name)) for name in ("batch_size=", "accumulate="))
    require_memory([placed(batch_size=int(batch.partition("=")[2]))])
    require_memory([placed(accumulate=int(pieces.partition("=")[2]))])


def test_of_several_trials_the_one_that_lacks_most_is_named() -> None:
    error = refused(placed("a"), placed("b", batch_size=2560), placed("c", batch_size=16), placed("d", seed=3))
    assert error.message.startswith("trial b: ")
    assert error.message.endswith("(nor do 2 more fit)")


def test_what_nobody_knows_is_not_judged() -> None:
    require_memory([placed(memory=(None, None))])
    assert "and b has 1073 MB" in refused(placed(memory=(None, GIB))).message
    plain = placed()
    program = replace(plain.trial, program=plain.trial.program.model_copy(update={"estimates": None}))
    require_memory([replace(plain, trial=program)])


def test_what_cannot_be_is_refused_in_the_programs_own_words() -> None:
    error = refused(placed("a", batch_size=1), placed("b", model="lenet5", dataset="cifar10"))
    assert error.message == "trial b: images have channels: 3, the model takes: 1"
    assert error.remedy == "choose another data set or model"
    pipeline: dict[str, Value] = {"strategy": "pipeline", "stages": 3, "batch_size": 1}
    for memory in ((GIB, GIB), (None, GIB), (None, None)):
        error = refused(placed("c", memory=memory, **pipeline))
        assert error.message == "trial c: 2 workers cannot be shared out evenly among 3 stages"
        assert error.remedy == "use --stages 2, or --strategy data"


def test_nodes_of_which_the_inventory_says_nothing_are_judged_by_their_own_words() -> None:
    def completed(node: Node) -> Node:
        return replace(node, memory_bytes=node.memory_bytes or GIB)

    require_memory([placed(memory=(GIB, GIB))], completed)  # judged before
    with pytest.raises(BadInputError, match="and b has 1073 MB"):
        require_memory([placed(memory=(64 * GIB, None))], completed)


def test_a_program_of_one_s_own_is_refused_by_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    (tmp_path / "mine.program.yaml").write_text("command: mine.py\nestimates: need.py\n", encoding="utf-8")
    answer = {"memory": {"text": "it needs 2 GB", "nbytes": 2 * 10**9, "fits": False}}
    (tmp_path / "need.py").write_text(
        f"import json, sys\nprint(json.dumps([{answer} for _ in json.load(sys.stdin)]))", encoding="utf-8"
    )
    own = replace(trial(1), id="mine", program=find_program("mine.py", tmp_path), parameters={"size": 3})
    node = replace(NODES[0], memory_bytes=GIB)

    def on(node: Node) -> Placement:
        return place_trial(own, [node], 9091, SentCode("x", {"mine.py": "y/mine.py"}), "")

    require_memory([on(replace(node, memory_bytes=None))])
    error = refused(on(node))
    assert error.message == "trial mine: it needs 2 GB, and a has 1073 MB"
    assert error.remedy == "choose something smaller, or nodes with more memory"


def test_settings_are_written_as_the_command_line_takes_them() -> None:
    assert setting_words({"batch_size": 8, "validation": False}) == "--set batch_size=8 --set validation=false"
