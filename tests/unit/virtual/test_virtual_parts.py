from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness.errors import BadInputError, ClusterError
from harness.virtual import state
from harness.virtual.host import cgroup, keys, network, processes, requirements, rootfs
from harness.virtual.host.lock import exclusive
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import nodes_of
from harness.virtual.inventory import inventory_text

NODES = nodes_of("pi", 2, "10.77.0.0/24")
V1 = """\
25 1 0:22 / /sys rw - sysfs sysfs rw
30 25 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
31 25 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
33 25 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_version_1_hierarchies_are_found() -> None:
    assert cgroup.parse_mounts(V1) == cgroup.Hierarchies(
        version=1,
        cpu=Path("/sys/fs/cgroup/cpu"),
        memory=Path("/sys/fs/cgroup/memory"),
        others=(Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")),
    )


def test_the_version_2_hierarchy_is_found() -> None:
    found = cgroup.parse_mounts(V2)
    assert found is not None
    assert (found.version, found.all) == (2, (Path("/sys/fs/cgroup"),))
    assert cgroup.parse_mounts("25 1 0:22 / /sys rw - sysfs sysfs rw\n") is None


@pytest.mark.parametrize(
    ("fraction", "dilation", "expected"),
    [
        (0.15, 1, (1500, 10_000)),
        (2.1, 1, (21_000, 10_000)),
        (0.05, 1, (1000, 20_000)),
        (0.15, 3, (1500, 30_000)),
        (0.02, 20, (1000, 1_000_000)),
        (0.01, 20, (1000, 1_000_000)),
    ],
)
def test_quotas_keep_the_kernels_limits(fraction: float, dilation: float, expected: tuple[int, int]) -> None:
    assert cgroup.quota_and_period(fraction, dilation) == expected


def test_the_least_share_is_the_kernels_least_quota_in_its_longest_period() -> None:
    assert [cgroup.least_fraction(dilation) for dilation in (1, 20)] == [0.001, 0.02]


@pytest.mark.parametrize("dilation", [1.0, 3.0])
def test_a_quota_is_kept_as_asked(dilation: float) -> None:
    assert cgroup.as_kept(0.15, dilation) == pytest.approx(0.15 / dilation, rel=0.01)
    assert cgroup.as_kept(None, dilation) is None


def test_a_version_2_group_is_written_as_the_kernel_reads_it(tmp_path: Path) -> None:
    group = cgroup.NodeGroup(cgroup.Hierarchies(2, tmp_path, tmp_path), "hv-pi", "node01")
    group.create()
    assert group.below(cgroup.KEEPER) == [tmp_path / "hv-pi" / "node01" / "keeper"]
    assert (tmp_path / "hv-pi" / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (group.quota(), group.memory(), group.processes()) == (None, None, set())
    group.set_quota(0.15)
    assert (tmp_path / "hv-pi" / "node01" / "cpu.max").read_text() == "1500 10000"
    assert group.quota() == 0.15
    group.set_quota(None)
    assert group.quota() is None


def test_links_are_shaped_where_a_node_cannot_reach() -> None:
    assert network.shaping_commands("node01", 10**8, "bfifo limit 640000") == [
        "qdisc replace dev node01 root handle 1: htb default 1",
        "class replace dev node01 parent 1: classid 1:1 htb rate 98439532bit ceil 98439532bit burst 3100 cburst 3100 "
        "quantum 60000",
        "qdisc replace dev node01 parent 1:1 handle 2: bfifo limit 640000",
    ]
    assert network.cable_commands("node01", NODES[0].mac, NODES[0].namespace) == [
        "link add node01 type veth peer name node01-card address 02:00:0a:4d:00:01",
        "link add link node01-card name eth0 address 02:00:0a:4d:00:01 netns hv-pi-n01 type macvlan mode passthru",
        "link set node01 addrgenmode none",
        "link set node01-card addrgenmode none",
        "link set node01 master switch",
        "link set node01 up",
        "link set node01-card up",
    ]
    assert not any("default" in line or "route" in line for line in network.end_commands("10.77.0.1", 24))


def test_the_inventory_is_plain_and_strict() -> None:
    text = inventory_text("pi", NODES, Path("/s/key"), Path("/s/known_hosts"), Path("/run/harness/pi/ssh"))
    group = yaml.safe_load(text)["all"]["children"]["nodes"]
    assert group["hosts"] == {"node01": {"ansible_host": "10.77.0.1"}, "node02": {"ansible_host": "10.77.0.2"}}
    variables = group["vars"]
    assert variables["cluster_kind"] == "virtual"
    assert variables["cluster_network_namespace"] == "hv-pi-c"
    assert variables["cluster_known_hosts"] == "/s/known_hosts"
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    assert "{{" not in text


def test_the_inventory_says_which_board_a_node_imitates() -> None:
    text = inventory_text("pi", NODES, Path("/k"), Path("/h"), Path("/c"), profiles={"node01": "pi3", "node02": "pi4"})
    hosts = yaml.safe_load(text)["all"]["children"]["nodes"]["hosts"]
    assert [host["node_profile"] for host in hosts.values()] == ["pi3", "pi4"]


def test_host_keys_are_pinned_by_address_and_name() -> None:
    text = keys.known_hosts(NODES, {"node01": "ssh-ed25519 AAA", "node02": "ssh-ed25519 BBB"})
    assert text == "10.77.0.1,node01 ssh-ed25519 AAA\n10.77.0.2,node02 ssh-ed25519 BBB\n"


def test_a_node_is_one_command_without_registration() -> None:
    group = cgroup.NodeGroup(cgroup.Hierarchies(2, Path("/x"), Path("/x")), "hv-pi", "node01")
    arguments = Machine(NODES[0], Path("/s/node01"), group).arguments()
    assert arguments[0] == "systemd-nspawn"
    assert {"--register=no", "--keep-unit", "--network-namespace-path=/run/netns/hv-pi-n01"} <= set(arguments)


def test_mounts_below_a_directory_are_found_with_their_spaces() -> None:
    mounts = "1 0 0:1 / /s rw - x x rw\n2 1 0:1 / /s/a\\040b rw - x x rw\n3 1 0:1 / /sx rw - x x rw\n"
    assert processes.mounts_below(Path("/s"), mounts) == [Path("/s"), Path("/s/a b")]


def test_the_root_file_systems_name_follows_its_release_and_packages() -> None:
    assert (
        len({rootfs.key_of("bookworm", ["a"]), rootfs.key_of("bookworm", ["a", "b"]), rootfs.key_of("trixie", ["a"])})
        == 3
    )
    assert {"openssh-server", "python3", "sudo", "nftables"} <= set(rootfs.packages())


@pytest.mark.parametrize("directory", ["relative", "/with space", "/with,comma", "/with:colon"])
def test_state_directories_that_would_break_mounts_are_refused(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_STATE_DIR", directory)
    with pytest.raises(BadInputError, match="state directory"):
        state.places_of("pi")


def test_a_claim_is_one_per_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "CLAIMS", tmp_path / "claims")
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "one"))
    state.claim(state.places_of("pi"))
    state.claim(state.places_of("pi"))
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path / "two"))
    with pytest.raises(ClusterError, match="up already"):
        state.claim(state.places_of("pi"))


def test_a_damaged_record_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path))
    places = state.places_of("pi")
    assert state.read_record(places) is None
    state.write_atomically(places.record, "{}")
    with pytest.raises(ClusterError, match="damaged") as error:
        state.read_record(places)
    assert "cluster down" in error.value.remedy


def test_writing_the_same_is_no_change(tmp_path: Path) -> None:
    assert state.write_atomically(tmp_path / "deep" / "file", "a")
    assert not state.write_atomically(tmp_path / "deep" / "file", "a")
    assert state.write_atomically(tmp_path / "deep" / "file", "b")


def test_a_lock_has_a_limit_and_survives_removal(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with exclusive(file, limit=1, doing="tests"):
        with pytest.raises(ClusterError, match="tests"), exclusive(file, limit=0.2, doing="tests"):
            pass
        file.unlink()
    with exclusive(file, limit=1, doing="tests"):
        assert file.exists()


def test_a_killed_holders_lock_is_kept_by_the_tool_that_it_started(tmp_path: Path) -> None:
    file, seconds = tmp_path / "lock", 1.5
    holder = """
import sys
from pathlib import Path
from harness.virtual.host.command import run
from harness.virtual.host.lock import exclusive

with exclusive(Path(sys.argv[1]), limit=1, doing="tests"):
    run(["sh", "-c", f"touch {sys.argv[1]}.begun; sleep {sys.argv[2]}; touch {sys.argv[1]}.ended"])
"""
    with subprocess.Popen([sys.executable, "-c", holder, str(file), str(seconds)]) as process:
        while not tmp_path.joinpath("lock.begun").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    with exclusive(file, limit=30, doing="tests"):
        assert tmp_path.joinpath("lock.ended").exists()


def test_nodes_that_the_kernel_has_no_watches_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    monkeypatch.setattr(requirements, "_INOTIFY_LIMIT", limit)
    monkeypatch.setattr(requirements, "_inotify_instances", lambda: 30)
    limit.write_text("128\n")
    requirements.require_inotify(14)
    with pytest.raises(ClusterError, match=r"15 more nodes want about 105 .* 30 of the kernel's limit of 128") as error:
        requirements.require_inotify(15)
    assert error.value.remedy == "run `sysctl -w fs.inotify.max_user_instances=256`"
    limit.write_text("1\n")
    requirements.require_inotify(0)
