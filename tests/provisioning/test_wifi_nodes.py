"""Virtual nodes that share a medium: what `harness check` says of it, and power saving that is kept off where there is a radio.

A virtual node has no radio: the role is told that its cable is one, and `iw` is a script that notes how it is called.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator

import pytest
from playbooks import ProvisionedCluster, play

from harness.virtual.blueprint import ClusterRequest
from harness.virtual.down import down
from harness.virtual.state import places_of
from harness.virtual.up import up
from tests.conftest import require_virtual

pytestmark = [pytest.mark.virtual, pytest.mark.slow, pytest.mark.timeout(1800)]

SUBNET = "10.84.0.0/24"
NODES = 3
RADIO = ("--tags", "network", "-e", '{"network_wifi_interfaces": ["eth0"]}')
UNIT = "/etc/systemd/system/cluster-wifi.service"
CONNECTIONS = "/etc/NetworkManager/conf.d/90-cluster-wifi.conf"
IW = "printf '#!/bin/sh\\necho \"$@\" >> /run/iw.calls\\n' > /usr/sbin/iw && chmod 755 /usr/sbin/iw"
MANAGER = (
    "printf '[Service]\\nExecStart=sleep infinity\\n' > /etc/systemd/system/NetworkManager.service && mkdir -p"
    " /etc/NetworkManager/conf.d && systemctl daemon-reload && systemctl start NetworkManager"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionedCluster]:
    """Three nodes on 30 Mbit/s, where the role network ran as for nodes with cables. The cluster is always removed."""
    require_virtual()
    name = f"f{os.getpid():x}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STATE_DIR", str(tmp_path_factory.mktemp("virtual")))
        try:
            up(name, ClusterRequest(nodes=NODES, profile="none", subnet=SUBNET, link="wifi:30mbit"))
            inventory = places_of(name).inventory
            run = play("site.yml", inventory, "--tags", "network", cluster=name)
            yield ProvisionedCluster(name, inventory, tuple(sorted(run.recap)), run, run, run)
        finally:
            down(name)


def nowhere(cluster: ProvisionedCluster, *paths: str) -> bool:
    """Whether no node has one of these files."""
    return cluster.on("nodes", " && ".join(f"test ! -e {path}" for path in paths)).returncode == 0


def test_check_measures_the_medium_with_all_nodes_at_once(cluster: ProvisionedCluster) -> None:
    done = cluster.run(sys.executable, "-m", "harness", "check", "-i", str(cluster.inventory), "--json")
    if not done.stdout:
        pytest.fail(done.stderr)
    network = [finding for finding in json.loads(done.stdout) if finding["what"] == "network"]
    (shared,) = [finding for finding in network if finding["node"] == "all"]
    assert shared["level"] == "ok"
    found = re.search(r"carries ([\d.]+) Mbit/s from node to node while all 3 send \((\w+)\)", shared["detail"])
    assert found, shared["detail"]
    # A frame between two nodes is on the air twice: 15 Mbit/s, of which headers are a twentieth.
    assert 12 < float(found[1]) < 15.5
    assert found[2] == ("good" if float(found[1]) >= 20 else "fair")
    assert len(network) == NODES + 1


def test_a_node_without_a_radio_is_left_alone(cluster: ProvisionedCluster) -> None:
    assert cluster.first.returncode == 0, cluster.first.output
    assert nowhere(cluster, UNIT, CONNECTIONS)


def test_a_unit_keeps_power_saving_off_and_reset_takes_it_away(cluster: ProvisionedCluster) -> None:
    assert cluster.on("nodes", IW).returncode == 0
    rehearsal = cluster.play("site.yml", "--check", *RADIO)
    assert rehearsal.returncode == 0, rehearsal.output
    assert nowhere(cluster, UNIT)
    first, second = cluster.play("site.yml", *RADIO), cluster.play("site.yml", *RADIO)
    assert first.returncode == 0, first.output
    assert first.total("changed") > 0
    assert second.total("changed") == 0, second.output
    node = cluster.nodes[0]
    assert cluster.on(node, "systemctl is-enabled cluster-wifi.service").returncode == 0
    assert "dev eth0 set power_save off" in cluster.on(node, "cat /run/iw.calls").stdout
    damaged = cluster.on(node, "systemctl disable cluster-wifi.service")
    assert damaged.returncode == 0
    checked = cluster.play("check.yml", *RADIO)
    assert "power saving of its Wi-Fi is not kept off" in " ".join(checked.output.split())
    back = cluster.play("reset.yml", "--tags", "network", "-e", "reset_confirmed=true")
    assert back.returncode == 0, back.output
    assert nowhere(cluster, UNIT)


def test_networkmanager_keeps_it_off_where_it_runs(cluster: ProvisionedCluster) -> None:
    node = cluster.nodes[0]
    assert cluster.on(node, f"{IW} && rm -f /run/iw.calls && {MANAGER}").returncode == 0
    only = (*RADIO, "--limit", node)
    first, second = cluster.play("site.yml", *only), cluster.play("site.yml", *only)
    assert first.returncode == 0, first.output
    assert second.total("changed") == 0, second.output
    assert "wifi.powersave = 2" in cluster.on(node, f"cat {CONNECTIONS}").stdout
    assert "dev eth0 set power_save off" in cluster.on(node, "cat /run/iw.calls").stdout
    assert cluster.on(node, f"test -e {UNIT}").returncode != 0
