"""Both LeNets as they were first written, symbol by symbol, trained by one executor; prints the weights' digest. Run by a test.

What translates lists of layers must give these bits: published results were computed with them.
"""

import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import mxnet as mx
import numpy as np
from training import datasets, models, sharding

name, batch, epochs, seed, rate, limit = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5]), int(sys.argv[6])
SIDE, FILTERS, HIDDEN, POOLING = {
    "lenet5": (32, (6, 16), (120, 84), "avg"),
    "lenet": (28, (20, 50), (500,), "max"),
}[name]
VECTOR = 16 if platform.machine() == "x86_64" and mx.runtime.Features().is_enabled("MKLDNN") else 1

dataset = datasets.load("digits", Path("unused"), limit).enlarged(SIDE)
weights = models.load(name, 10).first_weights(seed)


def with_zeros(array: str, wanted: tuple[int, ...]) -> mx.sym.Symbol:
    """The variable with zeros behind its first dimensions."""
    symbol, shape = mx.sym.var(array), weights[array].shape
    for axis, size in enumerate(wanted):
        if size > shape[axis]:
            zeros = mx.sym.zeros((*shape[:axis], size - shape[axis], *shape[axis + 1 :]))
            symbol = mx.sym.concat(symbol, zeros, dim=axis)
            shape = (*shape[:axis], size, *shape[axis + 1 :])
    return symbol


symbol = mx.sym.expand_dims(mx.sym.cast(mx.sym.var("images"), dtype="float32") * (1.0 / dataset.deviation), axis=1)
channels, padding = 1, (SIDE - dataset.side) // 2
for number, own in enumerate(FILTERS, 1):
    filters = own if number == len(FILTERS) else max(own, VECTOR)
    symbol = mx.sym.Convolution(
        symbol, with_zeros(f"conv{number}_weight", (filters, channels)), with_zeros(f"conv{number}_bias", (filters,)),
        num_filter=filters, kernel=(5, 5), pad=(padding, padding),
    )  # fmt: skip
    symbol = mx.sym.Pooling(mx.sym.Activation(symbol, act_type="tanh"), pool_type=POOLING, kernel=(2, 2), stride=(2, 2))
    channels, padding = filters, 0
for number, units in enumerate((*HIDDEN, 10), 1):
    symbol = mx.sym.FullyConnected(symbol, name=f"dense{number}", num_hidden=units)
    if number <= len(HIDDEN):
        symbol = mx.sym.Activation(symbol, act_type="tanh")
label = mx.sym.var("label")
correct = mx.sym.BlockGrad(mx.sym.argmax(symbol, axis=1) == label)
symbol = mx.sym.concat(mx.sym.softmax_cross_entropy(symbol, label), mx.sym.sum(correct, keepdims=True), dim=0)

values = {array: mx.nd.array(value) for array, value in weights.items()}
gradients = {array: mx.nd.zeros(value.shape) for array, value in weights.items()}
images = mx.nd.zeros((batch, dataset.side, dataset.side), dtype="uint8")
labels = mx.nd.zeros((batch,))
executor = symbol.bind(
    mx.cpu(), {**values, "images": images, "label": labels}, gradients,
    {array: "write" if array in gradients else "null" for array in symbol.list_arguments()},
)  # fmt: skip
for epoch in range(1, epochs + 1):
    shares = sharding.Shares((batch,), 0)
    for chosen in sharding.epoch_shard(len(dataset.train.images), shares, seed=seed, epoch=epoch):
        images[:] = dataset.train.images[chosen]
        labels[:] = dataset.train.labels[chosen].astype(np.float32)
        executor.forward(is_train=True)
        executor.backward([mx.nd.ones((2,))])
        mx.nd.multi_sgd_update(
            *(array for each in values for array in (values[each], gradients[each])),
            num_weights=len(values), lrs=(1.0,) * len(values), wds=(0.0,) * len(values),
            rescale_grad=rate / batch, out=list(values.values()),
        )  # fmt: skip
print(models.digest({array: value.asnumpy() for array, value in values.items()}))
