"""A worker that nobody replaces is not waited for without limit: real MXNet, real ps-lite."""

from __future__ import annotations

from pathlib import Path

import pytest
import training_job
from training_job import LIMIT_SECONDS, events, trial

pytestmark = pytest.mark.mxnet

STALL_SECONDS = 2.0
IMPATIENT = f"""
import runpy, sys
sys.path.insert(0, {str(training_job.PROGRAM.parents[1])!r})
from training.kvstores import base
base.STALL_SECONDS = {STALL_SECONDS}
runpy.run_path({str(training_job.PROGRAM)!r}, run_name="__main__")
"""


def test_who_is_missing_is_named_once_nobody_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "impatient.py"
    program.write_text(IMPATIENT, encoding="utf-8")
    monkeypatch.setattr(training_job, "PROGRAM", program)
    arguments = ["--kvstore", "dist_async", "--dataset", "digits", "--limit", "256", "--epochs", "100000"]
    with trial(2, 1, arguments, tmp_path, HARNESS_REPLACEABLE="1") as ranks:
        staying, leaving = ranks[-2:]
        assert leaving.stdout is not None
        gone = events(leaving.stdout.readline())[0]
        leaving.kill()
        output, errors = staying.communicate(timeout=LIMIT_SECONDS)
    assert staying.returncode == 2, errors
    error = events(output)[-1]
    assert f"still misses rank {gone['rank']} of the store dist_async" in error["message"]
    assert error["message"].endswith("nobody trained for 2 s")
    assert error["remedy"]
