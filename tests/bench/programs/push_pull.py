"""Push-pulls of LeNet-5's ten arrays and nothing else, as a stock MXNet script makes them: what one costs a worker.

push_pull.py COUNT. Prints {"rank", "cpu_seconds", "seconds"} of one push-pull of all ten, the first twentieth left out.
"""

from __future__ import annotations

import json
import sys
import time

import mxnet as mx

SHAPES = (
    (6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,),
)  # fmt: skip

count = int(sys.argv[1])
store = mx.kv.create("dist_sync")
keys = list(range(len(SHAPES)))
gradients = [mx.nd.ones(shape) for shape in SHAPES]
store.init(keys, [mx.nd.zeros(shape) for shape in SHAPES])
cpu = seconds = 0.0
for number in range(count + count // 20):
    if number == count // 20:
        cpu, seconds = time.process_time(), time.perf_counter()
    store.pushpull(keys, gradients)
    mx.nd.waitall()
cpu, seconds = time.process_time() - cpu, time.perf_counter() - seconds
print(json.dumps({"rank": store.rank, "cpu_seconds": cpu / count, "seconds": seconds / count}), flush=True)
