"""A virtual cluster, for real: nodes, links, quotas, crashes, and nothing left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import require_virtual

from harness.errors import ClusterError
from harness.nodes import namespace
from harness.nodes.read_inventory import load_cluster
from harness.virtual import cluster, ssh
from harness.virtual.blueprint import ClusterRequest
from harness.virtual.down import down
from harness.virtual.host import cgroup, network, processes
from harness.virtual.host.names import controller_namespace, nodes_of, prefix, switch_namespace
from harness.virtual.state import default_inventory, places_of
from harness.virtual.up import up

NAME = f"t{os.getpid():x}"
SUBNET = "10.76.0.0/24"
CPU = 0.4
CONTROLLER = "10.76.0.254"
NODE1 = "10.76.0.1"
PASSWORD = "correct $horse"  # noqa: S105 - of nodes of the test's own
Result = TypeVar("Result")
LAPS = """
import time
for wait in (0, 0.03):
    rows = []
    for _ in range(25):
        wall, own = time.perf_counter(), time.thread_time()
        sum(number * number for number in range(40000))
        own = time.thread_time() - own
        rows.append((time.perf_counter() - wall) / own)
        time.sleep(wait)
    print("speed", sorted(rows)[12], flush=True)
"""


pytestmark = pytest.mark.virtual


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    require_virtual()


@pytest.fixture(scope="module", autouse=True)
def state_directory(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STATE_DIR", str(directory))
        yield directory
        down(NAME)


@pytest.fixture
def two_nodes() -> None:
    limits = ClusterRequest(
        nodes=2, cpu=CPU, cpu_model="quota", link="100mbit", memory="512MiB", subnet=SUBNET, dilation=1.0
    )
    up(NAME, limits)


@pytest.fixture
def asks_for_a_password(two_nodes: None) -> Iterator[None]:
    """Nodes as stock boards are: their user's sudo asks for a password."""
    rule = "/etc/sudoers.d/pi"
    asks = f"echo 'pi:{PASSWORD}' | sudo chpasswd && echo 'pi ALL=(ALL) ALL' | sudo tee {rule}"
    trusts = f"echo '{PASSWORD}' | sudo -S sed -i 's/ALL$/NOPASSWD: ALL/' {rule}"
    try:
        assert [on_node([asks], index).returncode for index in (1, 2)] == [0, 0]
        yield
    finally:
        assert [on_node([trusts], index).returncode for index in (1, 2)] == [0, 0]


def in_controller(function: Callable[[], Result]) -> Result:
    """What `function` returns inside the controller's namespace; this thread stays outside."""
    results: list[Result] = []

    def work() -> None:
        namespace.enter_network_namespace(controller_namespace(NAME))
        results.append(function())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    return results[0]


def on_node(command: list[str], index: int = 1, limit: float = 30) -> subprocess.CompletedProcess[str]:
    node = nodes_of(NAME, 2, SUBNET)[index - 1]
    arguments = ssh.arguments(places_of(NAME), node, command)
    return in_controller(
        lambda: subprocess.run(
            arguments, capture_output=True, text=True, timeout=limit, check=False, stdin=subprocess.DEVNULL
        )
    )


def python_on_node(program: str) -> subprocess.CompletedProcess[str]:
    # ssh joins its arguments and a shell on the node splits them again
    return on_node(["python3", "-c", f"'{program}'"])


def command_line(verb: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness", "cluster", verb, "--name", NAME, *arguments]


def remains(directory: Path) -> list[str]:
    """Everything of the cluster that this machine still has."""
    found = network.namespaces_of(NAME)
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{directory}/{NAME}" in line]
    found += [str(place) for each in cgroup.find_hierarchies().all if (place := each / prefix(NAME)).exists()]
    found += [str(path) for path in Path("/run/harness").glob(f"{NAME}*")]
    found += [str(path) for path in Path("/run/systemd/nspawn").glob(f"*/{prefix(NAME)}-*")]
    found += [str(path) for path in directory.iterdir()]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_text(errors="replace")
            except OSError:
                continue
            if str(directory) in arguments or prefix(NAME) in arguments:
                found.append(arguments.replace("\0", " "))
    return found


def receive_rate(connection: socket.socket, seconds: float) -> float:
    """Bits per second that arrive; the first half second, while TCP finds its pace, does not count."""
    connection.settimeout(10)
    warm = time.monotonic() + 0.5
    while time.monotonic() < warm:
        connection.recv(1 << 16)
    start, received = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        received += len(connection.recv(1 << 16))
    return received * 8 / (time.monotonic() - start)


SEND = """
import socket, time
peer = socket.create_connection((\"{address}\", {port}), 10)
end = time.monotonic() + 4
try:
    while time.monotonic() < end: peer.sendall(bytes(65536))
except OSError: pass
"""
RECEIVE = """
import socket, time
server = socket.create_server((\"{address}\", {port}))
server.settimeout(10)
peer = server.accept()[0]
peer.settimeout(10)
def take(seconds):
    start, total = time.monotonic(), 0
    while time.monotonic() < start + seconds: total += len(peer.recv(65536))
    return total * 8 / (time.monotonic() - start)
take(0.5)
print(take(2))
"""


def rate_from_node() -> float:
    def receive() -> float:
        with socket.create_server((CONTROLLER, 0)) as server:
            server.settimeout(15)
            program = SEND.format(address=CONTROLLER, port=server.getsockname()[1])
            arguments = ssh.arguments(places_of(NAME), nodes_of(NAME, 1, SUBNET)[0], ["python3", "-c", f"'{program}'"])
            with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as sender:
                connection, _ = server.accept()
                with connection:
                    rate = receive_rate(connection, 2)
                sender.wait(20)
        return rate

    return in_controller(receive)


def rate_to_node() -> float:
    def send() -> float:
        program = RECEIVE.format(address=NODE1, port=5001)
        arguments = ssh.arguments(places_of(NAME), nodes_of(NAME, 1, SUBNET)[0], ["python3", "-c", f"'{program}'"])
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as receiver:
            connection = connect_patiently(NODE1, 5001)
            with connection:
                end = time.monotonic() + 10
                try:
                    while receiver.poll() is None and time.monotonic() < end:
                        connection.sendall(bytes(1 << 16))
                except OSError:  # the receiver has seen enough
                    pass
            output, _ = receiver.communicate(timeout=20)
        return float(output)

    return in_controller(send)


def connect_patiently(address: str, port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((address, port), 2)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.usefixtures("two_nodes")
class TestNodes:
    def test_up_again_changes_nothing(self) -> None:
        assert up(NAME, ClusterRequest()) == []

    def test_all_are_up_and_systemd_runs(self) -> None:
        assert all(node.is_up for node in cluster.status(NAME))
        done = on_node(
            ["hostname;", "systemctl", "is-system-running;", "sudo", "systemd-run", "--wait", "--pipe", "id", "-un"]
        )
        assert done.stdout.split() == ["node01", "running", "root"], done.stderr

    def test_each_has_its_own_identity(self) -> None:
        identities = {
            on_node(["cat", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"], index).stdout for index in (1, 2)
        }
        assert len(identities) == 2

    def test_a_wrong_host_key_is_refused(self, tmp_path: Path) -> None:
        places = places_of(NAME)
        first, second = places.known_hosts.read_text().splitlines()
        swapped = tmp_path / "known_hosts"
        swapped.write_text(f"{first.split()[0]} {' '.join(second.split()[1:])}\n")
        arguments = ssh.arguments(places, nodes_of(NAME, 1, SUBNET)[0], ["true"])
        arguments = [part.replace(str(places.known_hosts), str(swapped)) for part in arguments]
        done = in_controller(lambda: subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False))
        assert done.returncode == 255
        assert "host key" in done.stderr.lower()

    def test_the_firewall_and_the_networks_settings_are_the_nodes(self) -> None:
        done = on_node(
            ["sudo", "nft", "add", "table", "inet", "t", "&&", "sudo", "sysctl", "-qw", "net.ipv4.tcp_sack=1"]
        )
        assert done.returncode == 0, done.stderr

    def test_nothing_leaves_the_cluster(self) -> None:
        program = 'import socket; print(socket.socket().connect_ex(("192.0.2.1", 80)))'
        assert python_on_node(program).stdout.strip() == "101"  # network is unreachable
        routes = subprocess.run(
            command_line("exec", "--", "ip", "route"), capture_output=True, text=True, check=True, timeout=30
        )
        assert routes.stdout.split()[0] == SUBNET
        assert len(routes.stdout.splitlines()) == 1

    def test_the_links_carry_a_hundred_megabit_both_ways(self) -> None:
        assert 80e6 < rate_from_node() < 100e6
        assert 80e6 < rate_to_node() < 100e6

    def test_a_node_cannot_lift_its_limit(self) -> None:
        assert on_node(["sudo", "tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo"]).returncode == 0
        assert 80e6 < rate_from_node() < 100e6

    def test_the_quota_holds(self) -> None:
        program = (
            "import time; end = time.monotonic() + 3; start = time.process_time()\n"
            "while time.monotonic() < end: pass\n"
            "print((time.process_time() - start) / 3)"
        )
        share = float(python_on_node(program).stdout)
        assert share < CPU * 1.1  # it may be less: a busy machine has none to give

    def test_stretched_nodes_compute_at_one_speed(self, tmp_path: Path) -> None:
        assert "node01: CPU 0.100" in up(NAME, ClusterRequest(cpu_model="stretched", cpu=0.1))
        assert [(node.quota, node.cpu_factor) for node in cluster.status(NAME)] == [(None, 10.0), (None, 10.0)]
        for index in (1, 2):
            on_node(["sudo", "install", "-d", "-m", "0700", "-o", "pi", "/opt/harness"], index)
        (tmp_path / "program").mkdir()
        program = tmp_path / "program" / "laps.py"
        program.write_text(LAPS, encoding="utf-8")
        arguments = [
            "-i",
            str(cluster.inventory(NAME)),
            "--framework",
            "plain",
            "-n",
            "2",
            "-o",
            str(tmp_path / "runs"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "harness", "launch", *arguments, "--", "python", str(program)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = [float(line.split()[-1]) for line in done.stdout.splitlines() if "speed" in line]
        assert len(found) == 4  # two nodes, with and without waits
        assert max(found) / min(found) < 1.2, found
        assert all(8 < speed < 14 for speed in found), found

    def test_sudo_may_ask_for_a_password(self, asks_for_a_password: None, tmp_path: Path) -> None:
        inventory, said = str(cluster.inventory(NAME)), ""

        def harness(*arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
            nonlocal said
            done = subprocess.run(
                [sys.executable, "-m", "harness", *arguments], input=typed, capture_output=True, text=True, timeout=120,
                check=False, start_new_session=True, env={**os.environ, "HARNESS_INVENTORY": inventory, **environment},
            )  # fmt: skip
            said += done.stdout + done.stderr
            return done

        provisioned = harness("provision", "--tags", "node", "-K", typed=f"{PASSWORD}\n")
        assert provisioned.returncode == 0, said
        (finding,) = (
            each for each in json.loads(harness("check", "-n", "1", "--json").stdout) if each["what"] == "sudo"
        )
        assert finding["level"] == "failed"
        assert finding["detail"].startswith("sudo asks for a password")
        assert "--ask-become-pass (-K)" in finding["remedy"]
        launch = ["launch", "--framework", "plain", "-n", "2", "-o", str(tmp_path / "runs"), "-K", "--", "id", "-un"]
        refused = harness(*launch, typed="wrong\n")
        assert refused.returncode == 2
        assert "node01: sudo refuses, with the password that it was given: sudo: " in refused.stderr
        done = harness(*launch, typed=f"{PASSWORD}\n")
        assert done.returncode == 0, said
        assert done.stdout.count("pi\n") == 2

        leave = ["sudo", "-S", "systemd-run", "--unit=harness-left", "--quiet", "sleep", "100"]
        assert on_node([f"echo '{PASSWORD}' |", *leave]).returncode == 0
        kept = harness("clean")
        assert (kept.returncode, "node01: sudo asks for a password" in kept.stderr) == (3, True), said
        cleaned = harness("clean", ANSIBLE_BECOME_PASS=PASSWORD)
        assert (cleaned.returncode, "harness-left.service" in cleaned.stdout) == (0, True), said

        found = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and PASSWORD in path.read_text()]
        logs = f"echo '{PASSWORD}' | sudo -S sh -c 'grep -r hors[e] /opt/harness /var/log; journalctl --quiet | grep hors[e]'"
        assert (PASSWORD in said, found, on_node([logs]).stdout) == (False, [], "")

    def test_memory_is_limited(self) -> None:
        done = python_on_node("print(len(bytearray(700 << 20)))")
        assert done.returncode != 0

    def test_exec_passes_status_and_inventory(self) -> None:
        script = 'test "$HARNESS_INVENTORY" = "$ANSIBLE_INVENTORY" && echo "$HARNESS_INVENTORY"; exit 7'
        done = subprocess.run(
            command_line("exec", "--", "sh", "-c", script),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (7, str(cluster.inventory(NAME)))
        assert default_inventory() == cluster.inventory(NAME)

    def test_the_inventory_serves_ansible(self) -> None:
        ansible = Path(sys.executable).with_name("ansible")
        done = subprocess.run(
            command_line("exec", "--", str(ansible), "nodes", "-b", "-m", "ping"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.count("SUCCESS") == 2, done.stdout + done.stderr


@pytest.mark.usefixtures("two_nodes")
class TestChange:
    def test_it_grows_and_shrinks(self) -> None:
        assert "node03: started" in up(NAME, ClusterRequest(nodes=3))
        assert [node.is_up for node in cluster.status(NAME)] == [True] * 3
        assert "node03: removed" in up(NAME, ClusterRequest(nodes=2))
        assert len(cluster.status(NAME)) == 2
        assert "node03" not in places_of(NAME).known_hosts.read_text()

    def test_links_and_limits_change_in_place(self) -> None:
        changes = up(NAME, ClusterRequest(link="20mbit", memory="256MiB", cpu=0.5))
        assert {"node01: link 20mbit", "node01: memory 256MiB", "node01: CPU 0.500"} <= set(changes)
        assert rate_from_node() < 20e6

    def test_time_is_dilated_in_place(self) -> None:
        def changed(link: str, quota: float) -> list[str]:
            nodes = ("node01", "node02")
            return ["inventory", *(f"{n}: link {link}" for n in nodes), *(f"{n}: CPU {quota:.3f}" for n in nodes)]

        def in_force() -> tuple[list[float | None], float]:
            quotas = [node.quota for node in cluster.status(NAME)]
            return quotas, load_cluster(cluster.inventory(NAME)).time_dilation

        done = subprocess.run(
            command_line("up", "--dilation", "2"), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[:-1] == changed("100mbit/2", CPU / 2)
        assert in_force() == ([CPU / 2] * 2, 2.0)
        assert 40e6 < rate_from_node() < 50e6
        assert 40e6 < rate_to_node() < 50e6

        assert up(NAME, ClusterRequest(dilation=4.0)) == changed("100mbit/4", CPU / 4)
        assert in_force() == ([CPU / 4] * 2, 4.0)
        assert 20e6 < rate_from_node() < 25e6

        assert up(NAME, ClusterRequest(dilation=1.0)) == changed("100mbit", CPU)
        assert in_force() == ([CPU] * 2, 1.0)
        assert 80e6 < rate_from_node() < 100e6

    def test_cables_become_a_medium_in_place(self) -> None:
        changes = up(NAME, ClusterRequest(link="wifi:30mbit"))
        links = [f"{node}: link wifi:30mbit" for node in ("node01", "node02")]
        assert changes == ["inventory", *links, "one medium for 2 nodes: wifi:30mbit"]
        assert up(NAME, ClusterRequest()) == []
        assert load_cluster(cluster.inventory(NAME)).shares_medium
        assert 25e6 < rate_from_node() < 30e6
        cluster.cut_link(NAME, "node01")
        assert [(node.link, node.ssh) for node in cluster.status(NAME)] == [("cut", False), ("wifi:30mbit", True)]
        assert up(NAME, ClusterRequest()) == ["node01: link restored"]

    def test_faults_can_be_made_and_mended(self) -> None:
        cluster.power_off(NAME, "node01")
        cluster.cut_link(NAME, "node02")
        states = {node.name: (node.state, node.link, node.ssh) for node in cluster.status(NAME)}
        assert states == {"node01": ("off", "100mbit", False), "node02": ("running", "cut", False)}
        cluster.power_on(NAME, "node01")
        cluster.restore_link(NAME, "node02")
        cluster.set_quota(NAME, "node02", 0.2)
        assert [(node.is_up, node.quota) for node in cluster.status(NAME)] == [(True, CPU), (True, 0.2)]

    def test_a_dead_node_comes_back_with_its_disk(self) -> None:
        assert on_node(["touch", "kept"]).returncode == 0
        group = cgroup.NodeGroup(cgroup.find_hierarchies(), prefix(NAME), "node01")
        supervisors = [p for p in group.processes() if processes.program_of(p) == "systemd-nspawn"]
        for process in supervisors:
            os.kill(process, 9)
        time.sleep(0.5)
        assert [node.is_up for node in cluster.status(NAME)] == [False, True]
        assert up(NAME, ClusterRequest()) == ["node01: started"]
        assert on_node(["test", "-f", "kept"]).returncode == 0

    def test_a_node_reboots_as_a_board_does(self) -> None:
        boot = "/proc/sys/kernel/random/boot_id"
        before = on_node(["cat", boot, "/etc/machine-id"]).stdout.split()
        on_node(["sudo", "systemctl", "reboot"])
        deadline = time.monotonic() + 30
        while (after := on_node(["cat", boot, "/etc/machine-id"]).stdout.split()) in ([], before):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert (before[0] != after[0], before[1]) == (True, after[1])
        assert cluster.status(NAME)[0].quota == CPU

    def test_a_name_in_use_is_refused_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HARNESS_STATE_DIR", str(tmp_path))
        with pytest.raises(ClusterError, match="up already"):
            up(NAME, ClusterRequest())
        with pytest.raises(ClusterError, match="belongs to"):
            down(NAME)

    def test_a_half_made_switch_is_made_again(self) -> None:
        subprocess.run(["ip", "-n", switch_namespace(NAME), "link", "delete", network.SWITCH], check=True, timeout=10)
        assert "switch and controller port" in up(NAME, ClusterRequest())
        assert [node.is_up for node in cluster.status(NAME)] == [True, True]

    def test_an_older_harnesses_cable_is_made_anew(self) -> None:
        switch, node = switch_namespace(NAME), nodes_of(NAME, 1, SUBNET)[0]
        for change in (
            "delete node01",
            f"add node01 type veth peer name eth0 netns {node.namespace}",
            "set node01 alias 100mbit",
            "add node01-b type bridge",
            "add node01-u type veth peer name node01-d",
        ):
            subprocess.run(["ip", "-n", switch, "link", *change.split()], check=True, timeout=10)
        assert up(NAME, ClusterRequest()) == ["node01: started"]
        assert [status.is_up for status in cluster.status(NAME)] == [True, True]
        links = subprocess.run(
            ["ip", "-n", switch, "-br", "link"], capture_output=True, text=True, check=True, timeout=10
        )
        assert "node01-card" in links.stdout
        assert not any(part in links.stdout for part in ("node01-b", "node01-u", "node01-d"))

    @pytest.mark.parametrize("seconds", [0.3, 0.8, 1.3])
    def test_after_a_crash_of_up_it_is_mended(self, seconds: float, state_directory: Path) -> None:
        down(NAME)
        arguments = command_line("up", "--nodes", "3", "--cpu", str(CPU), "--subnet", SUBNET)
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as crashing:
            time.sleep(seconds)
            crashing.kill()
        up(NAME, ClusterRequest(nodes=2, cpu=CPU, subnet=SUBNET))
        assert [node.is_up for node in cluster.status(NAME)] == [True, True]

    @pytest.mark.parametrize("seconds", [0.3, 0.8, 1.3])
    def test_after_a_crash_of_up_down_leaves_nothing(self, seconds: float, state_directory: Path) -> None:
        down(NAME)
        arguments = command_line("up", "--nodes", "3", "--cpu", str(CPU), "--subnet", SUBNET)
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as crashing:
            time.sleep(seconds)
            crashing.kill()
        down(NAME)
        assert remains(state_directory) == []


def test_down_leaves_nothing_and_says_when_there_is_nothing(state_directory: Path) -> None:
    up(NAME, ClusterRequest(nodes=2, cpu=CPU, subnet=SUBNET))
    arguments = command_line("exec", "--", "sh", "-c", "echo here; exec sleep 60")
    inside = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert inside.stdout is not None
    assert inside.stdout.readline() == "here\n"
    said: list[str] = []
    assert down(NAME, said.append)
    assert inside.wait(10) != 0
    assert any("sleep" in line for line in said)
    assert remains(state_directory) == []
    assert not down(NAME)
    done = subprocess.run(command_line("down"), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)
