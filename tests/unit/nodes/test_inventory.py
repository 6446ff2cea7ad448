"""The cluster, as Ansible reads it from an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.nodes.read_inventory import build_cluster, load_cluster
from harness.paths import REPOSITORY

HOSTS = """\
nodes:
  hosts:
    pi01: {ansible_host: 192.0.2.1, ansible_port: 2222}
  children:
    rest:
      hosts:
        pi02: {ansible_host: 192.0.2.2}
  vars:
    ansible_user: pi
    cluster_port: 7000
"""


def write(directory: Path, text: str) -> Path:
    (directory / "hosts.yml").write_text(text, encoding="utf-8")
    (directory / "known_hosts").write_text("192.0.2.1 ssh-ed25519 AAAA\n", encoding="utf-8")
    return directory


def test_nodes_come_in_inventory_order_with_what_they_inherit(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path, HOSTS))
    assert [(n.name, n.address, n.ssh_port, n.user) for n in cluster.nodes] == [
        ("pi01", "192.0.2.1", 2222, "pi"),
        ("pi02", "192.0.2.2", 22, "pi"),
    ]
    assert (cluster.kind, cluster.port) == ("pi", 7000)
    assert cluster.nodes[0].known_hosts == str(tmp_path / "known_hosts")
    assert cluster.nodes[0].supervisor == "systemd"


def test_templates_are_resolved_by_ansible(tmp_path: Path) -> None:
    text = HOSTS.replace("ansible_user: pi", 'ansible_user: "{{ login }}"\n    login: someone')
    assert {node.user for node in load_cluster(write(tmp_path, text)).nodes} == {"someone"}


def test_the_local_inventory_is_this_machine() -> None:
    cluster = load_cluster(REPOSITORY / "inventory" / "local")
    assert cluster.kind == "local"
    assert {node.local for node in cluster.nodes} == {True}
    assert {node.supervisor for node in cluster.nodes} == {"process"}
    assert len({node.address for node in cluster.nodes}) == len(cluster.nodes) >= 4
    assert cluster.nodes[0].root.startswith("/")


def test_the_example_for_boards_can_be_read() -> None:
    cluster = load_cluster(REPOSITORY / "inventory" / "pi.example")
    assert (cluster.kind, len(cluster.nodes)) == ("pi", 11)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"a": {"ansible_host": "192.0.2.1"}, "b": {"ansible_host": "192.0.2.1"}}, "hosts a and b have one address"),
        ({"a": {}}, "host a has no ansible_host"),
        ({"a": {"ansible_host": "pi.local"}}, "'pi.local' is not an IP address"),
        ({"a": {"ansible_host": "192.0.2.1", "node_supervisor": "cron"}}, "node_supervisor 'cron' is unknown"),
    ],
)
def test_an_unusable_description_is_refused(tmp_path: Path, variables: dict[str, dict[str, Any]], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        build_cluster(tmp_path, variables)


def test_an_inventory_that_ansible_cannot_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read inventory"):
        load_cluster(write(tmp_path, "nodes: [") / "hosts.yml")


def test_an_inventory_without_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no hosts in group 'nodes'"):
        load_cluster(write(tmp_path, "other: {hosts: {a: }}"))


def test_an_absent_inventory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        load_cluster(tmp_path / "nowhere")


def test_more_nodes_than_there_are(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path, HOSTS))
    assert [node.name for node in cluster.first(1, excluding=frozenset({"pi01"}))] == ["pi02"]
    with pytest.raises(BadInputError, match=r"3 nodes asked for, but .* has 2") as caught:
        cluster.first(3)
    assert "at most 2" in caught.value.remedy


def test_hosts_have_groups_cores_and_memory_and_some_are_not_counted(tmp_path: Path) -> None:
    text = HOSTS + "    node_cores: 4\n    node_memory: 1GiB\n"
    text = text.replace("pi02: {", "pi02: {node_counts: false, node_cores: 8, ")
    cluster = load_cluster(write(tmp_path, text))
    assert [node.name for node in cluster.nodes] == ["pi01"]
    (other,) = cluster.others
    assert (other.name, other.cores, other.memory_bytes) == ("pi02", 8, 1 << 30)
    assert "rest" in other.groups
    assert "rest" not in cluster.nodes[0].groups
    assert [node.name for node in cluster.hosts] == ["pi01", "pi02"]
    with pytest.raises(BadInputError, match="2 nodes asked for"):
        cluster.first(2)
    with pytest.raises(BadInputError, match="node_counts is false for all"):
        load_cluster(write(tmp_path, HOSTS + "    node_counts: false\n"))


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ansible_port", "ssh", "ansible_port 'ssh' is no port"),
        ("ansible_port", 70000, "ansible_port '70000' is no port"),
        ("ansible_port", "", "ansible_port '' is no port"),
        ("cluster_port", "nine", "cluster_port 'nine' is no port"),
        ("cluster_port", -1, "cluster_port '-1' is no port"),
        ("node_cores", 0, "node_cores '0' is no number of cores"),
        ("node_threads", "many", "node_threads 'many' is no number of threads"),
        ("node_memory", "lots", "node_memory: 'lots' is no memory size"),
        ("node_root", "nodes/here", "node_root 'nodes/here' is no absolute path"),
        ("node_counts", "perhaps", "node_counts 'perhaps' is neither true nor false"),
        ("ansible_host", "fe80::1", "'fe80::1' is an IPv6 address"),
        ("ansible_host", ["192.0.2.1"], "is not an IP address"),
        ("ansible_user", ["pi"], r"ansible_user '\['pi'\]' is no text in one line"),
        ("ansible_user", "pi\nroot", "is no text in one line"),
        ("ansible_connection", "docker", "ansible_connection 'docker' is neither local nor SSH"),
        ("ansible_ssh_private_key_file", True, "ansible_ssh_private_key_file 'True' is no text"),
        ("ansible_ssh_private_key_file", "~nobody.here/key", "is in the home of nobody here"),
        ("ansible_python_interpreter", {}, "ansible_python_interpreter '{}' is no text"),
        ("cluster_known_hosts", "\0", "cluster_known_hosts '\0' is no text"),
        ("cluster_network_namespace", 1.5, "cluster_network_namespace '1.5' is no text"),
        ("cluster_kind", False, "cluster_kind 'False' is no text"),
        ("cluster_time_dilation", "fast", "cluster_time_dilation 'fast' is no factor"),
        ("cluster_time_dilation", 0.5, "cluster_time_dilation '0.5' is no factor"),
        ("cluster_time_dilation", True, "cluster_time_dilation 'True' is no factor"),
        ("cluster_time_dilation", 10**400, "is no factor"),
        ("cluster_link", "radio", "cluster_link 'radio' is unknown"),
        ("cluster_port", 70000, "cluster_port '70000' is no port"),
        ("cluster_port", "\N{FULLWIDTH DIGIT NINE}000", "is no port"),
        ("node_root", "", "node_root '' is no absolute path"),
    ],
)
def test_a_value_that_is_none_is_refused_by_its_name(tmp_path: Path, variable: str, value: Any, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as refused:
        build_cluster(tmp_path, {"pi01": {"ansible_host": "192.0.2.1", variable: value}})
    assert "pi01" in refused.value.message


@pytest.mark.parametrize("host", ["../held", "a b", "", "[/x]", "-n", "a\n", "x" * 300])
def test_a_host_whose_name_cannot_be_a_files_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(BadInputError, match="its name cannot be that of a file"):
        build_cluster(tmp_path, {host: {"ansible_host": "192.0.2.1"}})


@pytest.mark.parametrize(
    ("variable", "values"),
    [
        ("cluster_port", (9091, 9092)),
        ("cluster_port", (None, 7000)),
        ("cluster_kind", ("pi", "virtual")),
        ("cluster_network_namespace", (None, "other")),
        ("cluster_time_dilation", (1, 4)),
        ("cluster_link", (None, "wifi")),
    ],
)
def test_hosts_that_differ_in_what_is_the_clusters_are_named(
    tmp_path: Path, variable: str, values: tuple[Any, Any]
) -> None:
    hosts: dict[str, dict[str, Any]] = {
        name: {"ansible_host": f"192.0.2.{number}", **({} if value is None else {variable: value})}
        for number, (name, value) in enumerate(zip("ab", values, strict=True), 1)
    }
    with pytest.raises(BadInputError, match=f"hosts a and b have different values of {variable}") as refused:
        build_cluster(tmp_path, hosts)
    assert "for the group nodes" in refused.value.remedy


def test_what_is_empty_or_ansibles_to_find_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    names = ("ansible_user", "ansible_connection", "ansible_ssh_private_key_file", "cluster_kind", "node_cores")
    empty = {"ansible_host": "192.0.2.1", **dict.fromkeys(names, ""), "ansible_python_interpreter": "auto_silent"}
    assert build_cluster(tmp_path, {"a": empty}) == build_cluster(tmp_path, {"a": {"ansible_host": "192.0.2.1"}})


@pytest.mark.parametrize(
    "variable",
    ["ANSIBLE_VERBOSITY=4", "ANSIBLE_DEBUG=1", "LC_ALL=xx_YY.UTF-8", "LC_ALL=C", "ANSIBLE_FORCE_COLOR=1"],
)
def test_an_inventory_is_read_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    assert [node.name for node in load_cluster(write(tmp_path, HOSTS)).nodes] == ["pi01", "pi02"]


def test_an_answer_that_cannot_be_read_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.nodes.read_inventory._ansible", lambda command, *_: Path(command[-1]).write_text("[1"))
    with pytest.raises(BadInputError, match="that can be read") as refused:
        load_cluster(write(tmp_path, HOSTS))
    assert "ansible-inventory --list" in refused.value.remedy


def test_the_controllers_directory_does_not_depend_on_where_a_rank_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", "cache")
    assert load_cluster(write(tmp_path, HOSTS)).controller.root == f"{Path.cwd()}/cache/controller"


def test_what_lies_in_the_working_directory_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("harness.py", "ansible.py"):
        (tmp_path / name).write_text("raise SystemExit('not this one')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [node.name for node in load_cluster(write(tmp_path, HOSTS)).nodes] == ["pi01", "pi02"]


def test_a_login_is_as_ansible_and_ssh_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    text = HOSTS + "    ansible_ssh_common_args: -o IdentitiesOnly=yes -J me@192.0.2.200\n    ansible_timeout: 3\n"
    first, second = (node.login for node in load_cluster(write(tmp_path, text)).nodes)
    assert first is not None
    assert second is not None
    assert (first.host, first.port, first.user, first.agent) == ("192.0.2.1", 2222, "pi", "/run/agent")
    assert (first.only_these_keys, first.connect_seconds, first.attempts) == (True, 3, 3)
    assert first.proxy[-2:] == ("[192.0.2.1]:2222", "192.0.2.200")
    assert second.port == 22
    assert first.known_hosts[0] == str(tmp_path / "known_hosts")
    assert len(first.known_hosts) > 1
    pinned = load_cluster(write(tmp_path, text + "    cluster_known_hosts: known_hosts\n")).nodes[0].login
    assert pinned is not None
    assert (pinned.known_hosts, pinned.checking) == ((str(tmp_path / "known_hosts"),), "yes")


def test_the_address_of_the_others_may_be_another_than_the_controllers_way(tmp_path: Path) -> None:
    text = HOSTS.replace("ansible_port: 2222", "ansible_port: 2222, node_address: 10.0.0.1").replace(
        "ansible_host: 192.0.2.2", "ansible_host: 192.0.2.1, node_address: 10.0.0.2"
    )
    nodes = load_cluster(write(tmp_path, text)).nodes
    assert [node.address for node in nodes] == ["10.0.0.1", "10.0.0.2"]
    assert [node.login.host for node in nodes if node.login] == ["192.0.2.1", "192.0.2.1"]
    with pytest.raises(BadInputError, match="node_address 'pi' is not an IP address"):
        build_cluster(tmp_path, {"a": {"ansible_host": "192.0.2.1", "node_address": "pi"}})


def test_a_cluster_says_whether_its_nodes_share_a_medium(tmp_path: Path) -> None:
    def shares(**variables: str) -> bool:
        return build_cluster(tmp_path, {"a": {"ansible_host": "192.0.2.1", **variables}}).shares_medium

    assert [shares(), shares(cluster_link="cable"), shares(cluster_link="wifi")] == [False, False, True]
