"""MXNet's optimizers as rules that the native servers know."""

import mxnet as mx

from .session import Rule

_SGD, _ADAGRAD = 1, 2  # wire.h


def check(optimizer):
    """Raise NotImplementedError where the servers do not know the optimizer."""
    kind = type(optimizer)
    if kind not in (mx.optimizer.SGD, mx.optimizer.AdaGrad):
        raise NotImplementedError(
            f"the native servers apply SGD and AdaGrad, not {kind.__name__}. Try: update_on_kvstore=False"
            " (MXNET_UPDATE_ON_KVSTORE=0 for Module), so that the workers update"
        )


def rule_of(optimizer, key):
    """The rule of one key now: rates and decays differ by key, and may follow a schedule."""
    clip = optimizer.clip_gradient
    rule = Rule(
        kind=_SGD if isinstance(optimizer, mx.optimizer.SGD) else _ADAGRAD,
        rate=optimizer._get_lr(key),
        decay=optimizer._get_wd(key),
        rescale=optimizer.rescale_grad,
        clip=-1.0 if clip is None else clip,
    )
    if rule.kind == _SGD:
        rule.momentum = optimizer.momentum
    else:
        rule.epsilon = optimizer.float_stable_eps
    return rule
