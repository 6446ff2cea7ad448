"""A worker of `test_native_kvstore.py`, a stock MXNet script: Gluon's Trainer on seeded batches. Prints what it has learnt.

native_kvstore_job.py STORE OPTIMIZER UPDATE_ON_KVSTORE STEPS
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

import mxnet as mx
import numpy as np

OPTIMIZERS = {
    "sgd": {"learning_rate": 0.1},
    "momentum": {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.001},
    "clipped": {"learning_rate": 0.1, "momentum": 0.5, "clip_gradient": 0.002},
    "adagrad": {"learning_rate": 0.05, "wd": 0.001},
    "scheduled": {"learning_rate": 0.1, "lr_scheduler": mx.lr_scheduler.FactorScheduler(2, 0.5)},
}
BATCH = 16

store_name, optimizer, on_store, steps = sys.argv[1], sys.argv[2], sys.argv[3] == "1", int(sys.argv[4])
store = mx.kv.create(store_name)
mx.random.seed(7)
network = mx.gluon.nn.HybridSequential()
network.add(
    mx.gluon.nn.Conv2D(8, 3, activation="tanh"), mx.gluon.nn.Dense(40, activation="tanh"), mx.gluon.nn.Dense(10)
)
network.initialize(mx.init.Xavier())
network.hybridize()
name = "adagrad" if optimizer == "adagrad" else "sgd"
trainer = mx.gluon.Trainer(
    network.collect_params(), name, OPTIMIZERS[optimizer], kvstore=store, update_on_kvstore=on_store
)
random = np.random.RandomState(100 + store.rank)
loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
for step in range(steps):
    images = mx.nd.array(random.rand(BATCH, 1, 8, 8))
    labels = mx.nd.array(random.randint(0, 10, BATCH))
    with mx.autograd.record():
        loss = loss_of(network(images), labels)
    loss.backward()
    trainer.step(BATCH * store.num_workers)
    if step == 1:
        network(
            images
        ).wait_to_read()  # a forward without training: oneDNN may store weights in layouts of its own then
values = np.concatenate([parameter.data().asnumpy().ravel() for parameter in network.collect_params().values()])
store._barrier()
found = {
    "rank": store.rank,
    "class": type(store).__module__.split(".")[0],
    "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    "values": values[:: max(1, len(values) // 50)].tolist(),
    "workers": store.num_workers,
    "pid": os.getpid(),
}
print(json.dumps(found), flush=True)
