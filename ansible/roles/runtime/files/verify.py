"""Proves that this runtime works and writes runtime.json next to itself; runs on the node, in the runtime's own interpreter.

Argument: `dist` (MXNet must have its distributed store) or `any`.
"""

import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCAL_STORES = ["local", "device"]
# What runtime_extra_wheels may bring that descriptions of programs name as a part of the runtime.
EXTRAS = ("torch",)
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


def read_yaml():
    """The version of PyYAML, which must read a document as it was written."""
    try:
        import yaml
    except ImportError as error:
        fail(f"PyYAML does not load: {error}", "site.yml again, which builds the runtime anew")
    found = yaml.safe_load("digits: {classes: 10, deviation: 6.0}")
    if found != {"digits": {"classes": 10, "deviation": 6.0}}:
        fail(f"PyYAML reads a document wrong, {found}", "another wheel of PyYAML")
    return yaml.__version__


def extras():
    """The versions of those extras that are there. Each must load, in a process of its own: libraries may not go together."""
    found = {}
    for name in EXTRAS:
        if importlib.util.find_spec(name) is None:
            continue
        command = [sys.executable, "-c", f"import {name}; print({name}.__version__)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            told = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            fail(f"{name} does not load: {told}", "all wheels that it needs in runtime_extra_wheels, or another wheel")
        found[name] = done.stdout.strip()
    return found


def try_native_store(mxnet):
    """Whether the runtime has the native store, which must then sum what one worker sends its one server."""
    directory = Path(mxnet.__file__).parent.parent / "native_kvstore"
    if not directory.is_dir():
        return False
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(port), "DMLC_NODE_HOST": "127.0.0.1"}
    os.environ.update(names, DMLC_NUM_WORKER="1", DMLC_NUM_SERVER="1", DMLC_ROLE="worker")
    program = str(directory / "kvstore")
    others = [subprocess.Popen([program], env={**os.environ, "DMLC_ROLE": role}) for role in ("scheduler", "server")]
    try:
        import native_kvstore

        native_kvstore.register()
        store = mxnet.kv.create("dist_sync")
        store.init(0, mxnet.nd.zeros(3))
        gradient = mxnet.nd.array([1.0, 2.0, 3.0])
        store.pushpull(0, gradient)
        if gradient.asnumpy().tolist() != [1.0, 2.0, 3.0]:
            fail("the native key-value store sums wrong", "site.yml again, which builds the runtime anew")
        store.close()
    except Exception as error:
        fail(f"the native key-value store does not work: {error}", "site.yml again, which builds the runtime anew")
    finally:
        for other in others:
            try:
                other.wait(5)  # they end when their worker has left
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()
    return True


def main():
    needed = sys.argv[1]
    try:
        import mxnet
        import numpy
    except (ImportError, OSError) as error:
        fail(f"MXNet does not load: {error}", "the system packages of ansible/mxnet-packages.txt, or another wheel")
    compute(mxnet)
    yaml_version = read_yaml()
    distributed = mxnet.runtime.Features().is_enabled("DIST_KVSTORE")
    if needed == "dist" and not distributed:
        fail(
            "this MXNet was built without DIST_KVSTORE",
            "runtime_kvstore: native and runtime_require_dist: false, or a wheel built with USE_DIST_KVSTORE=ON",
        )
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    native = try_native_store(mxnet)
    implementations = ["mxnet"] * distributed + ["native"] * native
    state = {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "mxnet": mxnet.__version__,
        "numpy": numpy.__version__,
        "yaml": yaml_version,
        "stores": LOCAL_STORES + (DISTRIBUTED_STORES if implementations else []),
        "kvstore_implementations": implementations,
        "kvstore_implementation": bundle.get("kvstore", "mxnet") if implementations else None,
        "wheels": bundle["wheels"],
        **extras(),
    }
    scratch = HERE / "runtime.json.new"
    scratch.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(scratch, HERE / "runtime.json")


if __name__ == "__main__":
    main()
