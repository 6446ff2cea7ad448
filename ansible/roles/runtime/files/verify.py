"""Proves that this runtime works and writes runtime.json next to itself; runs on the node, in the runtime's own interpreter.

Argument: `dist` (MXNet must have its distributed store) or `any`.
"""

import json
import os
import platform
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCAL_STORES = ["local", "device"]
DISTRIBUTED_STORES = ["dist_sync", "dist_device_sync", "dist_async"]


def fail(message, remedy):
    sys.exit(f"{message}. Try: {remedy}")


def compute(mxnet):
    """One step of gradient descent of a tiny network, whose result is known."""
    weight = mxnet.nd.array([[1.0, 2.0]])
    weight.attach_grad()
    with mxnet.autograd.record():
        loss = (mxnet.nd.dot(weight, mxnet.nd.array([[3.0], [4.0]])) ** 2).sum()
    loss.backward()
    gradient = weight.grad.asnumpy().tolist()
    if gradient != [[66.0, 88.0]]:
        fail(f"MXNet computes a wrong gradient, {gradient}", "another wheel: this one does not fit the processor")


def main():
    needed = sys.argv[1]
    try:
        import mxnet
        import numpy
    except (ImportError, OSError) as error:
        fail(f"MXNet does not load: {error}", "the system packages of ansible/node-packages.txt, or another wheel")
    compute(mxnet)
    distributed = mxnet.runtime.Features().is_enabled("DIST_KVSTORE")
    if needed == "dist" and not distributed:
        fail(
            "this MXNet was built without DIST_KVSTORE", "a wheel built with USE_DIST_KVSTORE=ON in runtime_mxnet_wheel"
        )
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    state = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "mxnet": mxnet.__version__,
        "numpy": numpy.__version__,
        "stores": LOCAL_STORES + (DISTRIBUTED_STORES if distributed else []),
        "wheels": bundle["wheels"],
    }
    scratch = HERE / "runtime.json.new"
    scratch.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(scratch, HERE / "runtime.json")


if __name__ == "__main__":
    main()
