"""The playbooks against a virtual cluster: rehearse, provision, again, drift, reset, provision once more."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from playbooks import ProvisionedCluster

from harness.paths import ANSIBLE, REPOSITORY

pytestmark = [pytest.mark.virtual, pytest.mark.slow, pytest.mark.timeout(3600)]
NODE_TESTS = REPOSITORY / "tests" / "provisioning" / "test_nodes.py"
DATASETS = ["mnist"]
UNREACHABLE = 4


def said_by_the_nodes(cluster: ProvisionedCluster) -> str:
    """What the tests on the nodes say, run inside the cluster's network."""
    environment = ["env", f"HARNESS_NODES={cluster.inventory}", f"HARNESS_NODES_DATASETS={' '.join(DATASETS)}"]
    done = cluster.run(
        *environment, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(NODE_TESTS), timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def data_is_at_hand() -> None:
    if not os.environ.get("HARNESS_MNIST_DIR"):
        pytest.skip("HARNESS_MNIST_DIR is not set: the nodes would get MNIST from the internet")


def test_rehearsal_on_fresh_nodes_fails_nowhere_and_changes_nothing(provisioned_cluster: ProvisionedCluster) -> None:
    played = provisioned_cluster.rehearsal
    assert played.returncode == 0, played.output
    assert len(played.recap) == len(provisioned_cluster.nodes)
    assert played.total("changed") > 0
    assert "would be installed" in played.output
    # The run that followed had everything to do.
    assert provisioned_cluster.first.total("changed") >= played.total("changed")


def test_first_run_provisions(provisioned_cluster: ProvisionedCluster) -> None:
    assert provisioned_cluster.first.returncode == 0, provisioned_cluster.first.output


def test_second_run_changes_nothing_on_any_host(provisioned_cluster: ProvisionedCluster) -> None:
    played = provisioned_cluster.second
    assert played.returncode == 0, played.output
    assert {host: counts["changed"] for host, counts in played.recap.items()} == dict.fromkeys(
        provisioned_cluster.nodes, 0
    )


def test_boards_only_settings_are_skipped_with_a_reason(provisioned_cluster: ProvisionedCluster) -> None:
    assert "No Raspberry Pi" in provisioned_cluster.first.output


def test_nodes_are_what_they_should_be(provisioned_cluster: ProvisionedCluster) -> None:
    assert " passed" in said_by_the_nodes(provisioned_cluster)


def test_check_passes_and_changes_nothing(provisioned_cluster: ProvisionedCluster) -> None:
    played = provisioned_cluster.play("check.yml")
    assert played.returncode == 0, played.output
    assert played.total("changed") == 0


DAMAGE = {
    "nft delete table inet cluster": "no firewall is loaded",
    "truncate --size=100 /opt/harness/data/mnist/train-images-idx3-ubyte": "train-images-idx3-ubyte has another content",
    "rm /opt/harness/runtime/runtime.json": "its runtime has not been verified",
    "sysctl -w net.ipv4.tcp_slow_start_after_idle=1": "kernel parameters of the network",
    "sed -i /node02/d /etc/hosts": "/etc/hosts lacks the cluster",
    "systemctl unmask apt-daily.timer": "apt-daily.timer",
    "hostname stranger": "its hostname is stranger",
}


def test_drift_is_told_by_check_and_mended_by_site(provisioned_cluster: ProvisionedCluster) -> None:
    node = provisioned_cluster.nodes[0]
    assert provisioned_cluster.on(node, " && ".join(DAMAGE)).returncode == 0
    checked = provisioned_cluster.play("check.yml")
    assert checked.returncode != 0
    assert {host for host, counts in checked.recap.items() if counts["failed"]} == {node}
    assert checked.total("changed") == 0
    said = " ".join(checked.output.split())
    assert [told for told in DAMAGE.values() if told not in said] == []
    assert "Try: harness provision (without --limit" in said
    mended = provisioned_cluster.play("site.yml")
    assert mended.returncode == 0, mended.output
    assert {host for host, counts in mended.recap.items() if counts["changed"]} == {node}
    assert provisioned_cluster.play("check.yml").returncode == 0


def test_wrong_data_is_told_before_it_reaches_a_node(provisioned_cluster: ProvisionedCluster, tmp_path: Path) -> None:
    source = Path(os.environ["HARNESS_MNIST_DIR"])
    for file in source.glob("*-ubyte*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = next(tmp_path.glob("t10k-labels*"))
    victim.write_bytes(victim.read_bytes()[:1000])
    node = provisioned_cluster.nodes[0]
    provisioned_cluster.on(node, "rm -r /opt/harness/data/mnist")
    try:
        given = json.dumps({"dataset_directories": {"mnist": str(tmp_path)}})
        played = provisioned_cluster.play("site.yml", "-e", given)
        said = " ".join(played.output.split())
        assert played.returncode != 0
        assert "t10k-labels-idx1-ubyte" in said
        assert "truncated" in said
        assert str(tmp_path) in said
        assert "dataset_directories.mnist" in said
        assert provisioned_cluster.on(node, "test ! -e /opt/harness/data/mnist").returncode == 0
    finally:
        assert provisioned_cluster.play("site.yml").returncode == 0


def test_tag_of_the_firewall_mends_the_firewall_alone(provisioned_cluster: ProvisionedCluster) -> None:
    node = provisioned_cluster.nodes[0]
    assert (
        provisioned_cluster.on(node, "nft delete table inet cluster && systemctl unmask apt-daily.timer").returncode
        == 0
    )
    tagged = provisioned_cluster.play("site.yml", "--tags", "firewall")
    assert tagged.returncode == 0, tagged.output
    assert provisioned_cluster.on(node, "nft list chain inet cluster input").returncode == 0
    left = provisioned_cluster.play("check.yml")
    assert left.returncode != 0
    assert "apt-daily.timer" in left.output
    assert "no firewall is loaded" not in left.output
    assert provisioned_cluster.play("check.yml", "--tags", "firewall").returncode == 0
    assert provisioned_cluster.play("site.yml").returncode == 0


STRANGERS = json.dumps({"firewall_ssh_sources": ["192.0.2.0/24"]})


@pytest.mark.parametrize("mode", [["--check"], []])
@pytest.mark.parametrize(("setting", "told"), [
    (STRANGERS, "firewall_ssh_sources does not let in 10.79.0."),
    ("firewall_ssh_port=2222", "listens at 22. Try: firewall_ssh_port: 22"),
])  # fmt: skip
def test_firewall_that_would_lock_the_controller_out_is_not_loaded(
    provisioned_cluster: ProvisionedCluster, mode: list[str], setting: str, told: str
) -> None:
    played = provisioned_cluster.play("site.yml", "--tags", "firewall", *mode, "-e", setting)
    assert played.returncode != 0
    assert told in " ".join(played.output.split())
    assert played.total("changed") == 0
    assert provisioned_cluster.play("check.yml").returncode == 0


LOAD = """
- hosts: nodes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: node, tasks_from: read}
    - ansible.builtin.import_role: {name: firewall, tasks_from: load}
      become: true
"""


@pytest.mark.parametrize("before", ["rules", "nothing"])
def test_node_goes_back_by_itself_when_nobody_gets_in_any_more(
    provisioned_cluster: ProvisionedCluster, tmp_path: Path, before: str
) -> None:
    """The rules are loaded without a look at whom they let in: what the controller's address is may be hidden from the node."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "roles").symlink_to(ANSIBLE / "roles")
    (tmp_path / "playbooks" / "load.yml").write_text(LOAD, encoding="utf-8")
    node = provisioned_cluster.nodes[0]
    chains = "nft --json list table inet cluster | grep -o revision_[0-9a-f]*"
    if before == "nothing":
        stop = "systemctl disable --now cluster-firewall.service && rm /etc/cluster-firewall.nft"
        assert provisioned_cluster.on(node, stop).returncode == 0
    old = provisioned_cluster.on(node, chains).stdout
    path = str(tmp_path / "playbooks" / "load.yml")
    played = provisioned_cluster.play(path, "--limit", node, "-e", STRANGERS, "-e", "firewall_revert_seconds=30")
    said = " ".join(played.output.split())
    assert played.returncode != 0
    assert "could not be logged in to anew" in said
    assert "It goes back to the rules before within 30 s" in said
    deadline = time.monotonic() + 60
    while (again := provisioned_cluster.on(node, chains)).returncode == UNREACHABLE and time.monotonic() < deadline:
        time.sleep(1)
    assert again.stdout == old
    gone = provisioned_cluster.on(
        node, "! test -e /etc/cluster-firewall.nft.new && ! systemctl is-failed 'cluster-firewall*'"
    )
    assert gone.returncode == 0, gone.stdout
    assert provisioned_cluster.play("site.yml").returncode == 0
    assert provisioned_cluster.play("check.yml").returncode == 0


def test_another_user_gets_all_that_is_ours(provisioned_cluster: ProvisionedCluster) -> None:
    node = provisioned_cluster.nodes[0]
    made = provisioned_cluster.on(
        node,
        "mkdir -p /opt/harness/trials/run/trial/x && chown -R $SUDO_USER /opt/harness/trials && useradd -m colleague"
        " && cp -r $(getent passwd $SUDO_USER | cut -d: -f6)/.ssh /home/colleague/ && chown -R colleague: /home/colleague/.ssh"
        " && echo 'colleague ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/colleague",
    )
    assert made.returncode == 0, made.stdout
    for user in (["-e", "ansible_user=colleague"], []):
        played = provisioned_cluster.play("site.yml", "--limit", node, *user)
        assert played.returncode == 0, played.output
        assert played.recap[node]["changed"] == 1
        owner = "colleague" if user else "$SUDO_USER"
        strangers = provisioned_cluster.on(node, f'test -z "$(find /opt/harness ! -user {owner})"')
        assert strangers.returncode == 0, strangers.stdout
        assert provisioned_cluster.play("site.yml", "--limit", node, *user).total("changed") == 0


def test_reset_asks_first(provisioned_cluster: ProvisionedCluster) -> None:
    played = provisioned_cluster.play("reset.yml")
    assert played.returncode != 0
    assert "reset_confirmed=true" in played.output
    assert provisioned_cluster.play("check.yml").returncode == 0


def test_reset_brings_nodes_back_and_site_works_again(provisioned_cluster: ProvisionedCluster) -> None:
    node = provisioned_cluster.nodes[0]
    provisioned_cluster.on(node, "systemd-run --unit=harness-left-behind sleep 1000")
    played = provisioned_cluster.play("reset.yml", "-e", "reset_confirmed=true")
    assert played.returncode == 0, played.output
    left = provisioned_cluster.on(
        node,
        "! test -e /opt/harness && ! test -e /etc/cluster-firewall.nft && ! test -e /etc/sysctl.d/90-cluster.conf"
        " && ! nft list table inet cluster && ! grep node02 /etc/hosts"
        " && test $(cat /proc/sys/net/ipv4/tcp_keepalive_time) = 7200"
        " && ! systemctl is-active harness-left-behind && systemctl is-enabled apt-daily.timer",
    )
    assert left.returncode == 0, left.stdout
    assert provisioned_cluster.play("check.yml").returncode != 0
    again = provisioned_cluster.play("site.yml")
    assert again.returncode == 0, again.output
    assert provisioned_cluster.play("check.yml").returncode == 0
