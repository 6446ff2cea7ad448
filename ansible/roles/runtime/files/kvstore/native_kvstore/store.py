"""The stores, as MXNet's `KVStore`."""

import mxnet as mx
import numpy as np
from mxnet.base import MXNetError
from mxnet.kvstore import KVStore, KVStoreBase
from mxnet.ndarray import NDArray

from .rules import check, rule_of
from .session import PULL, PUSH, PUSHPULL, Session

_FOLLOW_LAYOUTS = mx.runtime.Features().is_enabled("MKLDNN")
"""oneDNN keeps some weights in layouts of its own: those that are sent or written are copied, by an operation that knows."""


_NAMES = (
    "dist",
    "dist_sync",
    "dist_async",
    "dist_device_sync",
    "dist_device_async",
    "dist_sync_device",
    "dist_async_device",
)


class _Key:
    """What a worker knows of a key."""

    def __init__(self, number, shape):
        self.number = number
        self.shape = shape
        self.size = int(np.prod(shape))
        self.turn = mx.nd.zeros(1)  # its operations run one after the other
        self.rule = None
        self._stage = None

    def stage(self):
        """An array that is in no layout but MXNet's own."""
        if self._stage is None:
            self._stage = mx.nd.zeros(self.shape)
        return self._stage


class NativeKVStore(KVStore):
    """Dense float32 arrays on the CPU; servers sum and, with an optimizer, update. The subclasses say how."""

    _type = ""

    def __init__(self):
        # not KVStore's: that one needs MXNet's own store
        self.handle = None
        self._updater = self._updater_func = self._str_updater_func = None
        self._session = Session.start("async" not in self._type)
        self._keys = {}
        self._optimizer = None
        self._seen = None  # of the optimizer

    def __del__(self):
        """There is no handle to free."""

    @property
    def type(self):
        """The store's name."""
        return self._type

    @property
    def rank(self):
        """This worker's number: its place in launch order, where the harness has started it."""
        return self._session.rank

    @property
    def num_workers(self):
        """How many workers there are."""
        return self._session.workers

    def is_capable(self, capability):
        """Whether the store has an optimizer: yes."""
        if capability.lower() == KVStoreBase.OPTIMIZER:
            return True
        raise MXNetError(f"unknown capability: {capability}")

    def init(self, key, value):
        """Make keys known, with worker 0's values; all workers wait for each other."""
        keys, values = _paired(key, value)
        for name, arrays in zip(keys, values, strict=True):
            _check(arrays[0], name)
            known = self._keys[name] = _Key(self._number(name), arrays[0].shape)
            if self.rank == 0 and not self._session.follows:
                self._session.init(known.number, np.ascontiguousarray(arrays[0].asnumpy()))
        if not self._session.follows:
            self._session.barrier()
        if self._optimizer:
            for name in keys:  # worker 0 has made them known by now
                self._send_rule(self._keys[name])

    def broadcast(self, key, value, out, priority=0):
        """`init`, and take worker 0's values."""
        self.init(key, value)
        self.pull(key, out=out, priority=priority)

    def push(self, key, value, priority=0):
        """Send gradients (or what the servers are to sum)."""
        keys, values = self._prepared(key, value)
        sources = [_summed(arrays) for arrays in values]
        if _FOLLOW_LAYOUTS:
            sources = [_copied(source, known.stage()) for known, source in zip(keys, sources, strict=True)]
        self._exchange(PUSH, keys, sources, None, priority)

    def pull(self, key, out=None, priority=0, ignore_sparse=True):
        """Fetch values into every array of `out`."""
        keys, outs = self._known(key, out)
        targets = [
            known.stage() if _FOLLOW_LAYOUTS or len(arrays) > 1 else arrays[0]
            for known, arrays in zip(keys, outs, strict=True)
        ]
        self._exchange(PULL, keys, None, targets, priority)
        _spread(targets, outs)

    def pushpull(self, key, value, out=None, priority=0):
        """Send gradients and fetch what becomes of them: into `out`, or over the gradients."""
        keys, values = self._prepared(key, value)
        if out is None:
            outs = values
            sources = [_summed(arrays) for arrays in values]
            targets = sources
        else:
            outs = self._known(key, out)[1]
            sources = [_summed(arrays) for arrays in values]
            staged = [_FOLLOW_LAYOUTS or len(arrays) > 1 for arrays in outs]
            targets = [
                known.stage() if yes else arrays[0] for known, arrays, yes in zip(keys, outs, staged, strict=True)
            ]
        self._exchange(PUSHPULL, keys, sources, targets, priority)
        _spread(targets, outs)

    def set_optimizer(self, optimizer):
        """Let the servers update: with SGD or AdaGrad. What changes later (rate, schedule, scale) is told them then."""
        check(optimizer)
        self._optimizer = optimizer
        self._seen = _settings(optimizer)
        for known in self._keys.values():
            self._send_rule(known)

    def set_gradient_compression(self, compression_params):
        """Not offered."""
        raise MXNetError("the native store does not compress gradients. Try: MXNET_KVSTORE_IMPLEMENTATION=mxnet")

    def row_sparse_pull(self, key, out=None, priority=0, row_ids=None):
        """Not offered."""
        raise MXNetError(_refusal(key, "sparse storage"))

    def save_optimizer_states(self, fname, dump_optimizer=False):
        """Not offered: the states are on the servers."""
        raise MXNetError("the servers keep the optimizer's state: it cannot be saved for distributed training")

    def load_optimizer_states(self, fname):
        """Not offered: the states are on the servers."""
        raise MXNetError("the servers keep the optimizer's state: it cannot be loaded for distributed training")

    def close(self):
        """Leave the trial before the interpreter's exit does it."""
        self._session.leave()

    def _set_updater(self, updater):
        raise MXNetError("the native servers run no Python. Try: set_optimizer with SGD or AdaGrad")

    def _barrier(self):
        self._session.barrier()

    def _send_command_to_servers(self, head, body):
        raise MXNetError("the native servers take no commands of this kind. Try: set_optimizer")

    def _number(self, name):
        if isinstance(name, int):
            return name
        return self._session.numbers.setdefault(name, len(self._session.numbers))

    def _known(self, key, arrays):
        """The keys' records, and for each a list of arrays that fit it."""
        names, lists = _paired(key, arrays)
        keys = []
        for name, given in zip(names, lists, strict=True):
            known = self._keys.get(name)
            if known is None:
                known = self._adopted(name, given[0])
            for array in given:
                _check(array, name)
                if array.shape != known.shape and array.size != known.size:
                    raise MXNetError(f"key {name} has the shape {known.shape}, not {array.shape}")
            keys.append(known)
        return keys, lists

    def _adopted(self, name, array):
        """A key that this worker has not made: one that takes a dead one's place finds it on the servers."""
        if not self._session.follows:
            raise MXNetError(f"key {name} is not known. Try: init it first")
        _check(array, name)
        known = self._keys[name] = _Key(self._number(name), array.shape)
        if self._optimizer:
            self._send_rule(known)
        return known

    def _prepared(self, key, value):
        """`_known`, with the servers' rules brought up to date."""
        keys, values = self._known(key, value)
        optimizer = self._optimizer
        if optimizer is None:
            return keys, values
        if optimizer.lr_scheduler is not None:
            for known in keys:
                optimizer._update_count(known.number)
            self._renew_rules(keys)
        elif _settings(optimizer) != self._seen:
            self._seen = _settings(optimizer)
            self._renew_rules(self._keys.values())
        return keys, values

    def _renew_rules(self, keys):
        """Send the rules that have changed, once all that was enqueued before has been answered."""
        for known in keys:
            if bytes(known.rule) != bytes(rule_of(self._optimizer, known.number)):
                known.turn.wait_to_read()
                self._send_rule(known)

    def _send_rule(self, known):
        """Send a key's rule. In a synchronous store worker 0's does: it comes before its gradients, so before any update."""
        known.rule = rule_of(self._optimizer, known.number)
        if self.rank == 0 or not self._session.synchronous:
            self._session.optimise(known.number, known.size, known.rule)

    def _exchange(self, kind, keys, sources, targets, priority):
        nothing = [None] * len(keys)
        self._session.exchange(
            kind,
            [known.number for known in keys],
            [known.size for known in keys],
            [source.handle for source in sources] if sources else nothing,
            [target.handle for target in targets] if targets else nothing,
            [known.turn.handle for known in keys],
            priority if isinstance(priority, list) else [priority] * len(keys),
        )


def _settings(optimizer):
    return optimizer.lr, optimizer.wd, optimizer.rescale_grad, optimizer.clip_gradient


def _paired(key, arrays):
    """Keys as a list, and for each a list of arrays (one for each device)."""
    if not isinstance(key, (list, tuple)):
        return [key], [list(arrays) if isinstance(arrays, (list, tuple)) else [arrays]]
    if len(key) != len(arrays):
        raise MXNetError(f"{len(key)} keys and {len(arrays)} arrays")
    grouped = {}
    for name, given in zip(key, arrays, strict=True):
        grouped.setdefault(name, []).extend(given if isinstance(given, (list, tuple)) else [given])
    return list(grouped), list(grouped.values())


def _check(array, name):
    if not isinstance(array, NDArray):
        raise MXNetError(f"key {name}: {type(array).__name__} is no NDArray")
    if array.stype != "default":
        raise MXNetError(_refusal(name, f"{array.stype} storage"))
    if array.dtype != np.float32:
        raise MXNetError(_refusal(name, np.dtype(array.dtype).name))
    if array.context.device_type != "cpu":
        raise MXNetError(_refusal(name, f"arrays on {array.context}"))


def _refusal(name, what):
    return f"key {name}: the native store has dense float32 arrays on the CPU only, not {what}"


def _summed(arrays):
    """The sum over this worker's devices."""
    if len(arrays) == 1:
        return arrays[0]
    return mx.nd.add_n(*(array.as_in_context(arrays[0].context) for array in arrays))


def _copied(source, target):
    """`target` with the values of `source`."""
    return source.copyto(target)


def _spread(targets, outs):
    """Copy what has come to all arrays that are still without it."""
    for target, arrays in zip(targets, outs, strict=True):
        for array in arrays:
            if array is not target:
                _copied(target, array)


def register():
    """Make MXNet create these stores by their names."""
    for name in (
        "dist_sync",
        "dist_async",
        "dist_device_sync",
        "dist_sync_device",
        "dist_device_async",
        "dist_async_device",
        "dist",
    ):
        KVStoreBase.kv_registry[name] = type(name, (NativeKVStore,), {"_type": name})
