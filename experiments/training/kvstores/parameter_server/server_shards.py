"""How MXNet spreads arrays over its servers, and the bound that makes it do so evenly. Pure.

MXNet's worker numbers its keys from 0, in the order in which they are given to `init`. An array of at least
MXNET_KVSTORE_BIGARRAY_BOUND elements is cut into one slice for every server; a smaller one goes whole to server
(key * 9973) % servers (`EncodeDefaultKey` in MXNet 1.9.1's src/kvstore/kvstore_dist.h). Servers keep whatever comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

BOUND = "MXNET_KVSTORE_BIGARRAY_BOUND"
SERVERS = "DMLC_NUM_SERVER"

_TOLERANCE = 1.15
"""The busiest server's load may be so many times the even one. Each array that is cut costs servers - 1 messages more, each way
and on every worker; the tolerance is what these are worth."""

_PRIME = 9973

_Each = TypeVar("_Each")


def in_key_order(forward: Sequence[_Each]) -> list[_Each]:
    """A thing of every array: backwards, as the last layer's gradient is ready first, and MXNet sends in the order of keys."""
    return list(reversed(forward))


def server_loads(sizes: Sequence[int], servers: int, bound: int) -> list[int]:
    """Elements that each server holds, of arrays with these sizes in the order of keys."""
    loads = [0] * servers
    for key, size in enumerate(sizes):
        if size < bound:
            loads[key * _PRIME % servers] += size
        else:
            for server in range(servers):
                loads[server] += _cut(size, servers, server + 1) - _cut(size, servers, server)
    return loads


def even_bound(sizes: Sequence[int], servers: int) -> int:
    """The largest bound, so the one with the fewest messages, at which no server has much more to do than the others.

    `sizes` are in forward order. The answer is one of them, or one more than the largest where nothing need be cut.
    """
    keys = in_key_order(sizes)
    allowed = _TOLERANCE * sum(keys) / servers
    bounds = [max(keys) + 1, *sorted(set(keys), reverse=True)]
    return next((bound for bound in bounds if max(server_loads(keys, servers, bound)) <= allowed), bounds[-1])


def environment(sizes: Sequence[int], given: Mapping[str, str]) -> dict[str, str]:
    """What to set for a model of arrays with these sizes in forward order, in a process with the environment `given`."""
    servers = given.get(SERVERS, "")
    return {BOUND: str(even_bound(sizes, int(servers)))} if servers.isdecimal() and int(servers) else {}


def _cut(size: int, servers: int, number: int) -> int:
    """Where slice `number` begins: C's round(), halves upwards."""
    return (2 * size * number + servers) // (2 * servers)
