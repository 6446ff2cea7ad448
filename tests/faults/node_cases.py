"""Cases in which a node, its files or its network are not as they should be: found before anything starts, with a remedy."""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.launch.launcher import Limits
from harness.nodes.read_inventory import load_cluster
from harness.virtual import cluster
from harness.virtual.host.names import controller_namespace
from tests.faults.cases import LEASE_SECONDS, LOST_SECONDS, STOP_SECONDS, Result, case, failed, succeeded
from tests.faults.rig import WORK, Rig, Running

ROOT = "/opt/harness"
RUNTIME = f"{ROOT}/runtime/runtime.json"
CHECK_SECONDS = 120.0


def _checked(
    rig: Rig, words: str, remedy: str, status: int = 3, limit: float = CHECK_SECONDS, inventory: Path | None = None
) -> Result:
    """`harness check` must end like this, and say these words and this remedy."""
    running = rig.harness("check", "-i", str(inventory or rig.inventory))
    ended = running.end(limit)
    took = time.time() - running.began
    text = running.said
    promised = ended == status and words in text and remedy in text and "Traceback" not in text
    outcome = f"check says: {words}" if promised else f"status {ended}: {text[-400:]}"
    return Result(outcome, promised, took, None, running.wait_until_clean(1), 0, limit)


@contextmanager
def _changed(rig: Rig, node: str, change: str, back: str) -> Iterator[None]:
    """A node on which a shell command was run, until another is."""
    rig.inside(node, "sh", "-c", change)
    try:
        yield
    finally:
        rig.inside(node, "sh", "-c", back)


def _python(rig: Rig, script: str) -> Path:
    """An inventory in which node 2's Python is a shell script."""
    encoded = base64.b64encode(f"#!/bin/sh\n{script}\n".encode()).decode()
    wrapper = f"{ROOT}/odd-python"
    rig.inside(rig.nodes[1], "sh", "-c", f"echo {encoded} | base64 -d > {wrapper} && chmod 755 {wrapper}")
    return rig.with_node(rig.nodes[1], ansible_python_interpreter=wrapper)


@case("a node never answers")
def never_answers(rig: Rig) -> Result:
    return _checked(
        rig, "did not take the code within 60 s", "uptime, dmesg", inventory=_python(rig, "exec sleep 600"), limit=100
    )


@case("a node sends a byte every 5 s")
def trickles(rig: Rig) -> Result:
    return _checked(
        rig,
        "did not take the code",
        "uptime, dmesg",
        inventory=_python(rig, "while printf x; do sleep 5; done"),
        limit=100,
    )


@case("a node has no Python where it should")
def no_python(rig: Rig) -> Result:
    inventory = rig.with_node(rig.nodes[1], ansible_python_interpreter="/nowhere/python3")
    return _checked(rig, "/nowhere/python3", "harness provision", inventory=inventory)


@case("a node's login shell prints")
def shell_prints(rig: Rig) -> Result:
    change = "cp /home/pi/.bashrc /root/bashrc; sed -i '1i echo Welcome to this board' /home/pi/.bashrc"
    with _changed(rig, rig.nodes[1], change, "cp /root/bashrc /home/pi/.bashrc"):
        result = _checked(rig, "its login shell prints 'Welcome to this board'", ".bashrc", status=0)
        launched = succeeded(rig.launch(program=("--seconds", "3")), 60)
    promised = result.as_promised and launched.as_promised
    outcome = f"{result.outcome}; launch {launched.outcome}"
    return Result(outcome, promised, result.detect, None, launched.left, 0, CHECK_SECONDS)


@case("one board under two addresses", short=True)
def twice(rig: Rig) -> Result:
    nodes = load_cluster(rig.inventory).nodes
    other = f"{nodes[1].address.rpartition('.')[0]}.222"
    link = rig.inside(rig.nodes[1], "sh", "-c", f"ip -o -4 addr | grep -F {nodes[1].address}/ | cut -d' ' -f2").strip()
    inventory = rig.with_node(rig.nodes[2], ansible_host=other)
    pinned = inventory.with_name("known_hosts")
    lines = pinned.read_text(encoding="utf-8").splitlines()
    key = next(line.split(None, 1)[1] for line in lines if nodes[1].address in line.split()[0].split(","))
    pinned.write_text("\n".join([*lines, f"{other} {key}"]) + "\n", encoding="utf-8")
    add, remove = (f"ip addr {what} {other}/24 dev {link}" for what in ("add", "del"))
    with _changed(rig, rig.nodes[1], add, remove):
        return _checked(
            rig, f"{other} is the same machine as node {rig.nodes[1]}", "leave one of them out", inventory=inventory
        )


@case("frames above 1300 bytes are lost between two nodes", short=True)
def large_frames_lost(rig: Rig) -> Result:
    target = load_cluster(rig.inventory).nodes[2].address
    rules = (
        "nft add table inet lose; nft 'add chain inet lose out { type filter hook output priority 0; }'; "
        f"nft add rule inet lose out ip daddr {target} meta length '>' 1300 drop"
    )
    with _changed(rig, rig.nodes[1], rules, "nft delete table inet lose"):
        return _checked(rig, f"do not get from it to {rig.nodes[2]}", "MTU")


@case("an SSH server that allows two sessions")
def few_sessions(rig: Rig) -> Result:
    file = "/etc/ssh/sshd_config.d/00-few.conf"
    with _changed(
        rig, rig.nodes[1], f"echo MaxSessions 2 > {file}; systemctl restart ssh", f"rm {file}; systemctl restart ssh"
    ):
        return _checked(rig, "sessions", "MaxSessions")


@case("a node's root is read-only")
def read_only(rig: Rig) -> Result:
    change = f"mount --bind {ROOT} {ROOT} && mount -o remount,ro,bind {ROOT}"
    with _changed(rig, rig.nodes[1], change, f"umount {ROOT}"):
        return _checked(rig, "cannot be written", "read-only")


@case("sudo asks for a password on a node")
def no_sudo(rig: Rig) -> Result:
    with _changed(
        rig, rig.nodes[1], "mv /etc/sudoers.d /etc/sudoers.off; mkdir /etc/sudoers.d",
        "rmdir /etc/sudoers.d; mv /etc/sudoers.off /etc/sudoers.d",
    ):  # fmt: skip
        return _checked(rig, "sudo asks for a password", "--ask-become-pass")


@case("the runtime of an older provisioning")
def old_runtime(rig: Rig) -> Result:
    return _odd_runtime(rig, f'echo \'{{"mxnet": "1.5"}}\' > {RUNTIME}', "its runtime.json has no python")


@case("another MXNet on one node")
def other_version(rig: Rig) -> Result:
    return _odd_runtime(rig, f"sed -i 's/1.9.1/1.8.0/' {RUNTIME}", "its mxnet is 1.8.0, that of most nodes 1.9.1")


def _odd_runtime(rig: Rig, change: str, words: str) -> Result:
    """A node says something odd of its runtime; it must be told, and provisioning named."""
    with _changed(
        rig, rig.nodes[1], f"cp -p {RUNTIME} /root/runtime.json; {change}", f"cp -p /root/runtime.json {RUNTIME}"
    ):
        return _checked(rig, words, "harness provision")


@case("another program has the cluster's port")
def port_taken(rig: Rig) -> Result:
    node = load_cluster(rig.inventory).nodes[1]
    port = str(load_cluster(rig.inventory).port)
    squat = f"systemd-run -q --unit=squat python3 -m http.server {port} --bind {node.address}; sleep 2"
    with _changed(rig, node.name, squat, "systemctl stop squat"):
        return _checked(rig, f"cannot listen on {node.address}:{port}", "cluster_port")


@case("a data set on a node was cut short")
def data_cut(rig: Rig) -> Result:
    change = (
        f"cd {ROOT}/data && f=$(find . -type f -size +1M | head -1) && echo $f > /root/cut && cp -p $f /root/whole "
        "&& truncate -s 9 $f"
    )
    with _changed(rig, rig.nodes[1], change, f"cd {ROOT}/data && cp -p /root/whole $(cat /root/cut)"):
        at = time.time()
        running = rig.train("--set", "dataset=mnist")
        status = running.end(60)
    promised = status == 2 and "is not whole" in running.output
    return Result(running.output.strip()[-150:], promised, time.time() - at, None, running.wait_until_clean(1), 0, 60)


@case("a node's SSH server is gone")
def no_ssh(rig: Rig) -> Result:
    with _changed(rig, rig.nodes[1], "systemctl stop ssh.socket ssh || systemctl stop ssh", "systemctl start ssh"):
        return _checked(rig, "cannot be reached", "is it powered")


@case("code on a node was emptied by a power cut", short=True)
def code_emptied(rig: Rig) -> Result:
    rig.inside(rig.nodes[1], "sh", "-c", f"for f in {ROOT}/code/*/agent/ranks.py; do chmod u+w $f; : > $f; done")
    return succeeded(rig.launch(program=("--seconds", "3")), 60, "sent again")


@case("one line of the program was changed on a node")
def code_changed(rig: Rig) -> Result:
    assert succeeded(rig.launch(program=("--seconds", "1")), 60).as_promised
    tamper = f"for f in {ROOT}/code/*/work.py; do chmod u+w $f; echo 'print(\"tampered\")' >> $f; done"
    rig.inside(rig.nodes[1], "sh", "-c", tamper)
    running = rig.launch(program=("--seconds", "3"))
    result = succeeded(running, 60, "sent again")
    clean = not any(b"tampered" in log.read_bytes() for log in running.directory.glob("trials/*/*.log"))
    return Result(result.outcome, result.as_promised and clean, None, None, result.left, result.lost, result.limit)


@case("a link that fails three times for 3 s")
def link_flaps(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "30"))
    running.started()
    for _ in range(3):
        with rig.cut(rig.nodes[2]):
            time.sleep(3)
        time.sleep(3)
    return succeeded(running, 90)


@case("5 % of a node's packets are lost")
def packets_lost(rig: Rig) -> Result:
    rules = (
        "nft add table inet lose; nft 'add chain inet lose in { type filter hook input priority -10; }'; "
        "nft add rule inet lose in iifname != lo numgen random mod 100 '<' 5 drop"
    )
    with _changed(rig, rig.nodes[1], rules, "nft delete table inet lose"):
        return succeeded(rig.launch(program=("--seconds", "10")), 120)


@case("two nodes powered off at once")
def two_off(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    for node in rig.nodes[2:]:
        cluster.power_off(rig.name, node)
    try:
        return failed(running, at, f"out of reach for more than {Limits.outage:.0f} s", LOST_SECONDS)
    finally:
        for node in rig.nodes[2:]:
            cluster.power_on(rig.name, node)
        rig.refresh()


@case("a node powered off while its ranks are started")
def off_at_start(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.directory  # noqa: B018 - waits until the launch has begun
    at = time.time()
    cluster.power_off(rig.name, rig.nodes[1])
    try:
        status = running.end(LEASE_SECONDS + 60)
        left = running.wait_until_clean(LEASE_SECONDS)
        failure = running.failure()
        return Result(failure, status == 1 and "node02" in failure, time.time() - at, None, left, 0, LEASE_SECONDS + 60)
    finally:
        cluster.power_on(rig.name, rig.nodes[1])
        rig.refresh()


@case("a node's disk is full before the start")
def full_before(rig: Rig) -> Result:
    change = (
        f"mkdir -p {ROOT}/trials && mount -t tmpfs -o size=64k tmpfs {ROOT}/trials; chmod 700 {ROOT}/trials; "
        f"head -c 60k /dev/zero > {ROOT}/trials/full; chown -R --reference={ROOT} {ROOT}/trials"
    )
    with _changed(rig, rig.nodes[1], change, f"umount --lazy {ROOT}/trials"):
        running = rig.launch(program=("--seconds", "300"))
        at = time.time()
        status = running.end(90)
        left = running.wait_until_clean(STOP_SECONDS)
        failure = running.failure() if "warning" in running.output or status == 1 else running.output[-200:]
        promised = status == 1 and "node02" in failure and "No space left" in failure
        return Result(failure, promised, time.time() - at, None, left, 0, 60)


@case("launch -H where another user has the directory that it works in")
def planted(rig: Rig) -> Result:
    nodes = load_cluster(rig.inventory).nodes
    below = ".local/share/harness-launch"
    directory = rig.inside(rig.nodes[1], "sh", "-c", f"echo ~{nodes[1].user}/{below}").strip()
    home = Path(tempfile.mkdtemp(dir=rig.results))
    (home / ".ssh").mkdir()
    shutil.copy(rig.inventory.with_name("known_hosts"), home / ".ssh" / "known_hosts")
    shutil.copy(str(nodes[1].key_file), home / ".ssh" / "id_ed25519")
    (home / "hosts").write_text("".join(f"{node.user}@{node.address}\n" for node in nodes), encoding="utf-8")
    command = [
        "ip", "netns", "exec", controller_namespace(rig.name), "env", f"HOME={home}", sys.executable, "-m", "harness",
        "launch", "-n", str(len(nodes)), "-H", str(home / "hosts"), "--framework", "plain", "-q", "-o", str(rig.results),
        "--", "python", str(WORK), "--seconds", "2",
    ]  # fmt: skip
    launched = succeeded(Running(rig, command), 60)
    mode = rig.inside(rig.nodes[1], "stat", "-c", "%U %a", f"{directory}/code").split()
    with _changed(rig, rig.nodes[1], f"chown nobody {directory}/code", f"rm -r {directory}"):
        at = time.time()
        running = Running(rig, command)
        status = running.end(60)
    told = f"{directory}/code belongs to user" in running.said
    promised = launched.as_promised and mode == [nodes[1].user, "700"] and status == 2 and told
    outcome = f"before: {launched.outcome}, {mode}; then {running.output.strip()[-150:]}"
    return Result(outcome, promised, time.time() - at, None, running.wait_until_clean(1), launched.lost, 60)
