"""A gluon.Trainer on the allreduce plug-in: a linear model, each worker's own part of every batch. Run by a test."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from training.kvstores.allreduce import gluon as plug_in

STEPS, BATCH, WIDTH = 5, 12, 7

store = mx.kv.create("allreduce")
assert isinstance(store, plug_in.AllReduce)
mx.random.seed(store.rank)  # other first weights everywhere, until worker 0's are broadcast
net = gluon.nn.Dense(3, in_units=WIDTH)
net.initialize(mx.init.Uniform(0.5))
for parameter in net.collect_params().values():
    store.broadcast(parameter.name, parameter.data(), parameter.list_data())
trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9}, kvstore=store)
numbers = np.random.RandomState(1)
for _ in range(STEPS):
    inputs, wanted = numbers.rand(BATCH, WIDTH), numbers.rand(BATCH, 3)
    own = slice(store.rank * BATCH // store.num_workers, (store.rank + 1) * BATCH // store.num_workers)
    with autograd.record():
        loss = gluon.loss.L2Loss()(net(mx.nd.array(inputs[own])), mx.nd.array(wanted[own]))
    loss.backward()
    trainer.step(BATCH)
print(" ".join(repr(float(number)) for number in net.weight.data().asnumpy().ravel()))
store.close()
