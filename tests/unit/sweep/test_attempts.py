"""What comes of a trial's attempts: its status, the ports it uses, the nodes it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch_parts import CLUSTER
from test_sweep import Launches, sweep

from harness.contract import wire
from harness.errors import BadInputError
from harness.experiment.declaration import validate
from harness.experiment.rates import Rate, Rates
from harness.launch.code import ProgramCode
from harness.launch.launcher import Limits, Observer, Outcome
from harness.launch.placement import Placement, SentCode
from harness.nodes.agent import Code
from harness.sweep.options import Policy, RunOptions
from harness.sweep.prepare import prepare


class Sampled(Launches):
    """Every trial's nodes say how they are; the ports of the trials are noted."""

    def __init__(self, throttled: object, *broken: str) -> None:
        super().__init__(*broken)
        self.throttled = throttled
        self.ports: list[str | None] = []

    def run(self, placement: Placement, observer: Observer, **options: object) -> Outcome:
        self.ports.append(placement.ranks[0].environment[wire.ROOT_PORT])
        observer.telemetry(placement.nodes[0], {"throttled": self.throttled, "load_1m": 1.0})
        return super().run(placement, observer, **options)


@pytest.mark.parametrize(
    ("throttled", "status"),
    [
        ("0x1", "suspect"),
        ("0x50004", "suspect"),
        ("0x50000", "ok"),
        ("0x0", "ok"),
        (None, "ok"),
        ("odd", "ok"),
        (3, "ok"),
    ],
)
def test_a_trial_whose_node_was_throttled_is_suspect(tmp_path: Path, throttled: object, status: str) -> None:
    _, rows = sweep(tmp_path, Sampled(throttled), Policy(), 1)
    assert [row["status"] for row in rows] == [status]


def test_a_failed_trial_is_failed_also_where_its_node_was_throttled(tmp_path: Path) -> None:
    _, rows = sweep(tmp_path, Sampled("0x1", "a"), Policy(), 1)
    assert [row["status"] for row in rows] == ["failed"]


def test_trials_use_ports_in_turn(tmp_path: Path) -> None:
    launches = Sampled(None)
    sweep(tmp_path, launches, Policy(), 1, 2, 3)
    assert launches.ports == [str(CLUSTER.port + number) for number in range(3)]


def test_the_first_failure_ends_the_sweep_where_it_was_asked_for(tmp_path: Path) -> None:
    launches = Launches("a")
    sweep(tmp_path, launches, Policy(fail_fast=True), 2, 1)
    assert launches.placed == [["a", "b"]]


def test_rates_must_be_known_of_every_node_that_may_stand_in() -> None:
    document = {"name": "e", "program": "train.py", "parameters": {"batch_size": 8}, "batches": "by_rate"}
    declared = validate({**document, "axes": {"nodes": [1]}}, "test")
    code = ProgramCode(Code({}), (), SentCode("x", {"train.py": "x/programs/train.py"}))
    first, second, _ = CLUSTER.nodes
    known = {node.name: Rate(node.name, node.address, 0.01, 0.001) for node in (first, second)}

    def prepared(retries: int) -> None:
        options = RunOptions(Limits(), Policy(retries=retries), 5, quiet=True)
        prepare(declared, CLUSTER, options, code, rates=Rates({}, known))

    prepared(0)
    with pytest.raises(BadInputError, match=r"\bc\b"):
        prepared(1)
