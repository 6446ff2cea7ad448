"""Care of provisioned nodes: boot again, power off, upgrade, serve the time; each node is left as it was."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbooks import ProvisionedCluster

from harness.virtual import cluster as virtual

pytestmark = [pytest.mark.virtual, pytest.mark.slow, pytest.mark.timeout(900)]
UNREACHABLE = 4


@pytest.fixture(autouse=True)
def data_is_at_hand() -> None:
    if not os.environ.get("HARNESS_MNIST_DIR"):
        pytest.skip("HARNESS_MNIST_DIR is not set: the nodes would get MNIST from the internet")


def said_on(cluster: ProvisionedCluster, node: str, script: str) -> str:
    """The last word that a script says on a node."""
    done = cluster.on(node, script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[-1]


def boot_of(cluster: ProvisionedCluster, node: str) -> str:
    return said_on(cluster, node, "cat /proc/sys/kernel/random/boot_id")


def test_nodes_are_powered_off_and_booted_again(provisioned_cluster: ProvisionedCluster) -> None:
    first, *_, last = provisioned_cluster.nodes
    both = ("--limit", f"{first},{last}")
    before = boot_of(provisioned_cluster, first)
    rehearsed = provisioned_cluster.play("poweroff.yml", *both, "--check")
    assert (rehearsed.returncode, rehearsed.total("changed")) == (0, 2), rehearsed.output
    assert rehearsed.output.index(f"{last} would be") < rehearsed.output.index(f"{first} would be")
    try:
        played = provisioned_cluster.play("poweroff.yml", "--limit", last)
        assert played.returncode == 0, played.output
        assert [node.name for node in virtual.status(provisioned_cluster.name) if node.state == "off"] == [last]
        # A node that is off is told, and the others are booted all the same.
        again = provisioned_cluster.play("reboot.yml", *both, "-e", "ansible_ssh_retries=0")
        assert again.returncode == UNREACHABLE, again.output
        assert (again.recap[last]["unreachable"], again.recap[first]["changed"]) == (1, 1)
        assert "TASK [verify : The node is what the roles leave]" in again.output
    finally:
        virtual.power_on(provisioned_cluster.name, last)
    assert boot_of(provisioned_cluster, first) != before


REPOSITORY_OF_TWO = r"""
mkdir -p /opt/packages/tree/DEBIAN /root/apt && cd /opt/packages && mv /etc/apt/sources.list* /root/apt/
mkdir /etc/apt/sources.list.d
for name in linux-image-test pinned-test; do for version in 1 2; do
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: tests <t@example.org>\n' $name $version > tree/DEBIAN/control
  echo 'Description: of a test' >> tree/DEBIAN/control
  dpkg-deb --build tree $name-$version.deb
done; done
dpkg -i *-1.deb
apt-mark hold pinned-test
for file in *-2.deb; do
  dpkg-deb --field $file
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $file $(stat -c %s $file) $(sha256sum < $file | head -c 64)
done > Packages
echo 'deb [trusted=yes] file:/opt/packages ./' > /etc/apt/sources.list.d/packages.list
apt-get update
"""
FORGET_REPOSITORY = """
apt-mark unhold pinned-test; dpkg --purge linux-image-test pinned-test; rm -r /opt/packages /etc/apt/sources.list*
mv /root/apt/* /etc/apt/; rm -r /root/apt /var/lib/apt/lists/*
"""


NOTHING_NEWER = "mkdir /root/apt && mv /etc/apt/sources.list* /root/apt/"
NOTHING_NEWER_FORGOTTEN = "mv /root/apt/* /etc/apt/ && rmdir /root/apt"


@pytest.fixture
def node_with_packages(provisioned_cluster: ProvisionedCluster) -> Iterator[str]:
    """A node with a package repository of its own, that has a newer kernel and a newer version of a pinned package."""
    node = provisioned_cluster.nodes[0]
    made = provisioned_cluster.on(node, f"set -e{REPOSITORY_OF_TWO}")
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        yield node
    finally:
        provisioned_cluster.on(node, FORGET_REPOSITORY)


def test_upgrade_says_what_changes_and_leaves_what_is_pinned(
    provisioned_cluster: ProvisionedCluster, node_with_packages: str
) -> None:
    node = node_with_packages
    versions = "dpkg-query --show --showformat='${Version},' linux-image-test pinned-test"
    for mode, found in (["--check"], "1,1,"), ([], "2,1,"):
        played = provisioned_cluster.play("upgrade.yml", "--limit", node, *mode)
        said = " ".join(played.output.split())
        assert (played.returncode, played.total("changed")) == (0, 1), played.output
        assert "linux-image-test 1 -> 2" in said
        assert "kept back, as pinned or as it needs upgrade_dist: pinned-test" in said
        assert f"needs a reboot (new: linux-image-test). Try: harness provision reboot --limit {node}" in said
        assert said_on(provisioned_cluster, node, versions) == found


def test_upgrade_boots_a_node_again_that_needs_it(
    provisioned_cluster: ProvisionedCluster, node_with_packages: str
) -> None:
    node, other = node_with_packages, provisioned_cluster.nodes[-1]
    before = {each: boot_of(provisioned_cluster, each) for each in (node, other)}
    # The other one has no newer packages, and no way out to a mirror: it asks only what it has.
    assert provisioned_cluster.on(other, NOTHING_NEWER).returncode == 0
    try:
        words = ("--limit", f"{node},{other}", "-e", "upgrade_reboot=true")
        played = provisioned_cluster.play("upgrade.yml", *words)
    finally:
        provisioned_cluster.on(other, NOTHING_NEWER_FORGOTTEN)
    assert played.returncode == 0, played.output
    assert {each: played.recap[each]["changed"] for each in (node, other)} == {node: 2, other: 0}
    assert boot_of(provisioned_cluster, node) != before[node]
    assert boot_of(provisioned_cluster, other) == before[other]
    assert played.output.count("TASK [verify : The node is what the roles leave]") == 2
    installed = said_on(provisioned_cluster, node, "dpkg-query --show --showformat='${Version}' linux-image-test")
    assert installed == "2"


def test_backup_of_a_node_has_how_it_was_set_up(provisioned_cluster: ProvisionedCluster, tmp_path: Path) -> None:
    node = provisioned_cluster.nodes[0]
    played = provisioned_cluster.play("backup.yml", "--limit", node, "-e", f"backup_directory={tmp_path}/kept")
    assert played.returncode == 0, played.output
    (archive,) = (tmp_path / "kept").iterdir()
    with tarfile.open(archive) as opened:
        names = set(opened.getnames())
    assert {"etc/cluster-firewall.nft", "etc/hosts", "opt/harness/runtime/runtime.json", "packages.txt"} <= names
    assert not [name for name in names if name.endswith(("spec.json", "python")) or "ssh" in name]
    assert provisioned_cluster.on(node, "ls -d /var/tmp/harness-backup-*").returncode != 0


# A container may not set a clock, and chrony refuses to run there: this is a service of its name that does nothing.
CHRONY = """
mkdir -p /etc/chrony/conf.d && install /dev/null /usr/sbin/chronyd
unit=/etc/systemd/system/chrony.service
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' > $unit
systemctl daemon-reload
"""
NO_CHRONY = "systemctl disable --now chrony; rm -r /etc/chrony /usr/sbin/chronyd /etc/systemd/system/chrony.service"


def test_time_server_answers_the_nodes_alone(provisioned_cluster: ProvisionedCluster, tmp_path: Path) -> None:
    node = provisioned_cluster.nodes[0]
    group = tmp_path / "time_servers.json"
    group.write_text(json.dumps({"time_servers": {"hosts": {node: {}}}}))
    try:
        assert provisioned_cluster.on(node, CHRONY).returncode == 0
        played = provisioned_cluster.play("time_server.yml", "-i", str(group))
        assert played.returncode == 0, played.output
        asked = said_on(provisioned_cluster, node, "grep --count '^allow ' /etc/chrony/conf.d/cluster.conf")
        assert int(asked) == len(provisioned_cluster.nodes)
        walled = provisioned_cluster.play(
            "site.yml", "-i", str(group), "--tags", "firewall", "--limit", node, "--check", "--diff"
        )
        assert walled.returncode == 0, walled.output
        assert "udp dport 123 accept" in walled.output
    finally:
        provisioned_cluster.on(node, NO_CHRONY)
