"""Events, meters, options and exit codes: what needs no MXNet."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from training import options, program
from training.errors import ProgramError
from training.reporting import events, meters


def test_an_event_is_one_line_of_json_with_finite_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    events.emit("epoch", epoch=3, train_loss=float("nan"), validation_loss=float("-inf"), wait_seconds=0.5, note="a\nb")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == {
        "event": "epoch",
        "epoch": 3,
        "train_loss": None,
        "validation_loss": None,
        "wait_seconds": 0.5,
        "note": "a\nb",
    }


NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0:2000 9 0 0 0 0 0 0 300 4 0 0 0 0 0 0
 wlan0: 50 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0
"""


def test_counts_are_those_of_the_wire_or_of_loopback_alone() -> None:
    wire = {"bytes_sent": 307, "bytes_received": 2050, "packets_sent": 5, "packets_received": 10}
    assert meters.wire_counts(NET_DEV, loopback=False) == wire
    assert set(meters.wire_counts(NET_DEV, loopback=True).values()) == {100, 1}


def test_readings_are_differences_of_what_this_machine_counts() -> None:
    earlier = meters.read()
    time.sleep(0.01)
    spent = meters.read() - earlier
    assert 0 <= spent.cpu_seconds < 1
    assert spent.bytes_sent >= 0
    assert 1 <= spent.context_switches < 1000


def test_options_have_the_reference_experiments_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", "/data")
    chosen = options.parse([])
    assert (chosen.model, chosen.batch_size, chosen.learning_rate, chosen.epochs) == ("lenet5", 64, 0.05, 10)
    assert (chosen.kvstore, chosen.validation, chosen.data_dir) == ("dist_sync", True, Path("/data"))
    assert not options.parse(["--no-validation"]).validation


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "0"],
        ["--epochs", "-1"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "0"],
        ["--warmup-steps", "-1"],
        ["--model", "resnet"],
        ["--kvstore", "device"],
        ["--no-such-option"],
        ["--limit", "many"],
        ["--wire", "1bit"],
        ["--threshold", "0"],
    ],
)
def test_wrong_options_are_named(arguments: list[str]) -> None:
    with pytest.raises(ProgramError, match=arguments[0]):
        options.parse(arguments)


def test_absent_data_ends_in_an_error_event_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    assert program.main(["--dataset", "mnist", "--data-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    event = json.loads(captured.out)
    assert event["event"] == "error"
    assert str(tmp_path / "mnist") in event["message"]
    assert event["remedy"]
    assert "error: no train-images-idx3-ubyte" in captured.err
