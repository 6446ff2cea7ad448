"""How arrays lie on MXNet's servers, and the bound that spreads them evenly."""

from __future__ import annotations

import pytest
from contract import wire
from training import kvstores, models
from training.kvstores.parameter_server import server_shards
from training.kvstores.parameter_server.server_shards import BOUND, even_bound, in_key_order, server_loads
from training.models.catalogue import ZOO_PREFIX

SERVERS = range(1, 12)
MODELS = (*(name for name in models.names() if not name.startswith(ZOO_PREFIX)), "zoo:resnet18_v2", "zoo:squeezenet1_1")
STOCK = 1_000_000


def sizes_of(model: str) -> list[int]:
    return models.load(model, 10, (224, 224, 3)).sizes()


def keys(model: str) -> list[int]:
    return in_key_order(sizes_of(model))


def uneven(loads: list[int]) -> float:
    """The busiest server's load by the even one."""
    return max(loads) * len(loads) / sum(loads)


def messages(sizes: list[int], servers: int, bound: int) -> int:
    """Of one worker, one way."""
    return sum(1 if size < bound else servers for size in sizes)


def test_arrays_lie_where_mxnet_puts_them() -> None:
    # keys 0 to 3 go to servers 0, 9973 % 3 = 1, 2, 0; 10 elements are cut after round(3.33) and round(6.67)
    assert server_loads([5, 6, 7, 8], 3, STOCK) == [13, 6, 7]
    assert server_loads([10], 3, 10) == [3, 4, 3]
    assert server_loads([10], 3, 11) == [10, 0, 0]


def test_mxnets_own_bound_leaves_most_of_a_model_on_one_server() -> None:
    assert uneven(server_loads(keys("lenet5"), 11, STOCK)) > 8
    assert max(server_loads(keys("lenet5"), 11, STOCK)) / 61_706 == pytest.approx(0.78, abs=0.01)


@pytest.mark.parametrize("servers", SERVERS)
@pytest.mark.parametrize("model", MODELS)
def test_the_busiest_server_has_little_more_than_the_others(model: str, servers: int) -> None:
    sizes = keys(model)
    bound = even_bound(sizes_of(model), servers)
    loads = server_loads(sizes, servers, bound)
    assert sum(loads) == sum(sizes)
    assert uneven(loads) <= 1.15
    # and with no more messages than that takes: any larger bound leaves one server too much
    for larger in (size + 1 for size in sizes if size >= bound):
        if messages(sizes, servers, larger) < messages(sizes, servers, bound):
            assert uneven(server_loads(sizes, servers, larger)) > 1.15


@pytest.mark.parametrize("servers", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("sizes", [[1], [7, 7], [10**7, 1], [3, 1000, 5, 999_999, 12, 40_000], [50] * 100])
def test_any_model_has_a_bound(sizes: list[int], servers: int) -> None:
    bound = even_bound(sizes, servers)
    loads = server_loads(in_key_order(sizes), servers, bound)
    cut_all = server_loads(in_key_order(sizes), servers, 1)
    assert max(loads) <= max(1.15 * sum(sizes) / servers, *cut_all)


def test_the_bound_is_set_where_there_are_servers_and_the_user_has_not_set_it() -> None:
    sizes = models.load("lenet5", 10).sizes()
    eleven = {"DMLC_NUM_SERVER": "11"}
    for store in ("dist_sync", "dist_async"):
        assert kvstores.environment(store, sizes, eleven) == {BOUND: "2400"}
        assert kvstores.environment(store, sizes, {"DMLC_NUM_SERVER": "2"}) == {BOUND: "10080"}
        assert kvstores.environment(store, sizes, {**eleven, BOUND: "10000"}) == {}
        assert (
            kvstores.environment(store, sizes, {}) == kvstores.environment(store, sizes, {"DMLC_NUM_SERVER": "0"}) == {}
        )
    assert kvstores.environment("none", sizes, eleven) == {}
    assert kvstores.environment("allreduce", sizes, eleven) == {}


def test_a_node_that_is_measured_alone_computes_as_with_its_store() -> None:
    sizes = models.load("lenet5", 10).sizes()
    as_servers = {wire.MEASURED_AS: '{"kvstore": "dist_sync"}', "DMLC_NUM_SERVER": "2"}
    assert kvstores.environment("none", sizes, as_servers) == {BOUND: "10080"}
    assert kvstores.environment("none", sizes, {**as_servers, BOUND: "10000"}) == {}
    assert kvstores.environment("none", sizes, {wire.MEASURED_AS: '{"kvstore": "allreduce"}'}) == {}


def test_the_store_and_the_bound_count_keys_alike() -> None:
    assert server_shards.in_key_order(["first", "middle", "last"]) == ["last", "middle", "first"]
