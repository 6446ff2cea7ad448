"""Train a small model for some steps as one worker, and write what became of it. Run by a test.

Takes a JSON object: engine, entry (of models.yaml), steps, seed, buckets, by_parts, accumulate, rate, kvstore and its options,
dataset (an embedded one; else noise of 8x8), sizes (the images of each of several workers; the store then says how arrays lie
in memory), and out, the .npz to write: beside the values, losses, scores, buffers (flat), and the bytes sent in all steps, and
in all (sent).
"""

import json
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import numpy as np
from training import datasets, engines
from training.datasets import Dataset, Split
from training.engines.layout import laid_out, laid_out_for
from training.kvstores import KVStoreOptions, registered
from training.kvstores.allreduce.links import Link
from training.kvstores.allreduce.links import link as link_module
from training.kvstores.registration import Opening
from training.models.catalogue import architecture
from training.sharding import Shares

BATCH = 16

asked = json.loads(sys.argv[1])
model = architecture("small", asked["entry"], 10)
if "dataset" in asked:
    dataset = datasets.load(asked["dataset"], Path()).fitted(model.side, model.channels)
    images, labels = dataset.train.images, dataset.train.labels
else:
    random = np.random.RandomState(1)
    images = random.randint(0, 256, (48, 8, 8)).astype(np.uint8)
    labels = random.randint(0, 10, 48).astype(np.uint8)
    dataset = Dataset(Split(images, labels), Split(images, labels), 64.0, 10)
arrays = model.first_weights(asked["seed"]) | model.first_statistics()
sizes = tuple(asked.get("sizes", (BATCH,)))
pieces = asked.get("accumulate", 1)
losses = []
engine = engines.load(asked["engine"])
images_each = sum(sizes) // len(sizes)
opening = Opening(engine, KVStoreOptions(**asked.get("options", {})), images_each, asked["rate"], finished=0)
with registered("mxnet")[asked.get("kvstore", "none")].open(opening) as store:
    shares = Shares(sizes, store.rank)
    if "sizes" in asked:
        layout = laid_out_for(store, model, dataset, arrays, pieces, shares)
    else:
        buckets = asked.get("buckets") or [1] * len(model.arrays)
        layout = laid_out(model, dataset, arrays, buckets, by_parts=asked.get("by_parts", False), accumulate=pieces)
    built = engine.build(layout)
    store.attach(built, shares)
    built.begin_epoch(asked["seed"])
    score = built.scorer(images[:20], labels[:20])
    sent: list[int] = []
    urgent: list[int] = []
    send = Link.send

    def counting(link: Link, message: memoryview) -> None:
        sent.append(message.nbytes)
        if link._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == link_module._INTERACTIVE:
            urgent.append(message.nbytes)
        send(link, message)

    Link.send = counting  # type: ignore[method-assign]
    steps = asked["steps"]
    order = np.arange(steps * BATCH).reshape(steps, BATCH) % len(images)
    walked = store.walked(shares)
    order = order[:, walked.before : walked.before + walked.own]
    for batch in built.batches(images[order], labels[order]):
        store.announce(asked["rate"])
        losses.append(built.read(built.train(batch, store)))
        store.step(asked["rate"])
    store.settle()
    built.wait()
    flat = [built.memory(each.value).settled().copy().ravel() for each in built.parameters]
    of_steps, urgent_in_steps = sum(sent), sum(urgent)
    with store.shared_values():
        np.savez(
            asked["out"], losses=np.array(losses), scores=score(), flat=np.concatenate(flat), sent=[of_steps, sum(sent)],
            urgent=[urgent_in_steps, sum(urgent)],
            **built.weights(), **built.statistics(),
        )  # fmt: skip
