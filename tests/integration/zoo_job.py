"""Scores by Gluon's own nets and by the same nets as layers of ours, with the same values. Run by a test, with MXNet.

Takes a JSON object: nets, each with the side of its images; prints by net the largest difference of scores that train and of
those that validate, and the largest score. Without, prints the converted nets, as zoo.json has them.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon.model_zoo import vision
from training import models
from training.datasets import Dataset, Split
from training.engines.mxnet import zoo
from training.engines.mxnet.graph import IMAGES
from training.engines.mxnet.symbols import Translator

CLASSES, BATCH = 7, 2


def differences(name: str, side: int) -> list[float]:
    """Of one net."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (BATCH, 3, side, side)).astype(np.uint8)
    labels = np.zeros(BATCH, np.uint8)
    model = models.load(f"zoo:{name}", CLASSES, (side, side, 3))
    net = getattr(vision, name)(classes=CLASSES)
    net.initialize(mx.init.Xavier())
    images = mx.nd.array(pixels / 64.0)
    net(images)  # its arrays have shapes now
    arrays = {}
    trained = iter(each for each in net.collect_params().values() if each.grad_req != "null")
    kept = iter(each for each in net.collect_params().values() if "running" in each.name)
    for array in model.arrays:
        arrays[array.name] = next(trained).data()
    for array in model.statistics:
        arrays[array.name] = next(kept).data()
        arrays[array.name][:] = random.uniform(0.5, 1.5, array.shape)
    assert not list(trained) + list(kept)
    dataset = Dataset(Split(pixels, labels), Split(pixels, labels), 64.0, CLASSES)
    found = []
    for training in (False, True):
        symbol = Translator(model, dataset).through(model.placed, mx.sym.var(IMAGES), training=training)
        copies = {name: value.copy() for name, value in arrays.items()}
        given = {**copies, IMAGES: mx.nd.array(pixels, dtype="uint8")}
        auxiliary = {name: copies[name] for name in symbol.list_auxiliary_states()}
        forms = symbol.infer_shape(**{IMAGES: pixels.shape})[0]
        named = dict(zip(symbol.list_arguments(), forms, strict=True))  # some are of ours alone
        # Where no gradient is asked for, MXNet normalises by what is kept, training or not.
        gradients = {name: mx.nd.zeros(form) for name, form in named.items() if name != IMAGES and training}
        executor = symbol.bind(
            mx.cpu(),
            {name: given[name] if name in given else mx.nd.zeros(form) for name, form in named.items()},
            gradients,
            {name: "write" if name in gradients else "null" for name in named},
            auxiliary,
        )
        ours = executor.forward(is_train=training and not drops(model))[0].asnumpy()
        with autograd.train_mode() if training and not drops(model) else autograd.predict_mode():
            theirs = net(images).asnumpy()
        found += [float(abs(ours - theirs).max())]
    return [*found, float(abs(theirs).max())]


def drops(model: models.Architecture) -> bool:
    """Whether what it makes while it trains is drawn."""
    return any(isinstance(layer, models.layers.Dropout) for layer in model.every_layer())


if len(sys.argv) > 1:
    print(json.dumps({name: differences(name, side) for name, side in json.loads(sys.argv[1]).items()}))
else:
    print(json.dumps(zoo.entries()))
