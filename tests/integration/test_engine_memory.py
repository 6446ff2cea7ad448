"""Looking at MXNet's arrays while its thread computes: what is waited for, and what is not."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import training_job

pytestmark = [pytest.mark.mxnet, pytest.mark.timeout(120)]

EXPERIMENTS = training_job.PROGRAM.parents[1]
BEGIN = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import mxnet as mx
from mxnet.base import MXNetError
from training.engines.mxnet import memory
from training.engines.mxnet.memory import MxnetMemory

big, first, later = mx.nd.ones((1200, 1200)), mx.nd.zeros((4,)), mx.nd.zeros((1200, 1200))
mx.nd.dot(big, big, out=later)
mx.nd.waitall()

def seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began

def much():
    for _ in range(60):
        mx.nd.dot(big, big, out=later)
"""


def found_by(program: str) -> list[float]:
    done = subprocess.run(
        [training_job.runtime_python(), "-c", BEGIN + program, str(EXPERIMENTS)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_an_array_is_seen_once_its_own_operations_are_done_whatever_else_is_enqueued() -> None:
    early, whole, seen = found_by("""
mine = MxnetMemory(first, waits=True)
first += 7
much()
early = seconds(mine.settled)
whole = seconds(mx.nd.waitall)
print(json.dumps([early, whole, float(mine.idle()[3])]))
""")
    assert seen == 7
    assert early < whole


def test_what_is_still_read_can_be_read_but_not_yet_be_written() -> None:
    read, written, rest = found_by("""
mine = MxnetMemory(big, waits=True)
much()
read, written = seconds(mine.written), seconds(mine.settled)
print(json.dumps([read, written, seconds(mx.nd.waitall)]))
""")
    assert read < written
    assert rest < written


def test_an_operation_that_failed_is_an_error_and_no_wait_without_an_end() -> None:
    (lasted,) = found_by("""
memory._LOOK_SECONDS = 0.2
bad = mx.nd.random.normal(0, -1, (4,))
try:
    print(json.dumps([seconds(MxnetMemory(bad, waits=True).settled)]), "no error")
except MXNetError:
    print(json.dumps([0.0]))
""")
    assert lasted == 0.0
