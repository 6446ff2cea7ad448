"""Bring a cluster up: compare what is there with what is asked for, and change what differs.

Running it again, resizing, and repairing after a crash are therefore the same operation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import harness
from harness.errors import ClusterError
from harness.nodes import namespace
from harness.virtual import ssh, wiring
from harness.virtual.blueprint import Blueprint, ClusterRequest, designed
from harness.virtual.cpu import library, profile, speed
from harness.virtual.host import cgroup, keys, medium, network, processes, requirements, rootfs
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import VirtualNode, controller_namespace
from harness.virtual.inventory import inventory_text
from harness.virtual.site import Site
from harness.virtual.state import (
    Places,
    Record,
    claim,
    locked,
    owner_of,
    read_record,
    write_atomically,
    write_record,
)

# Far more than it takes (about 5 s for 11 nodes), so that a busy machine does not fail.
READY_LIMIT_SECONDS = 180.0
Say = Callable[[str], None]


def up(name: str, request: ClusterRequest, say: Say = print) -> list[str]:
    """Make cluster `name` as `request` asks; returns what was changed, empty where nothing had to be.

    `say` gets a line for whatever takes time, and warnings. Raises BadInputError for a request that is impossible, before
    anything is changed, and ClusterError when the cluster cannot be brought up; what was made so far then stays for the
    next `up` or `down`.
    """
    requirements.require_all()
    site = Site.of(name)
    with locked(site.places):
        before = read_record(site.places)
        blueprint = designed(name, request, before.options if before else None)
        medium.require(blueprint.link)
        _refuse_strangers(site.places)
        missing = sum(not site.machine(node).is_running for node in blueprint.nodes)
        requirements.require_inotify(missing)
        claim(site.places)
        # by number: `self` would be mount's own, which is the same, but is not what a reader of the mount table sees
        processes.bind(Path(f"/proc/{os.getpid()}/ns/net"), site.places.machine_network)
        raising = _Raising(site, blueprint, before, say)
        raising.run()
    fractions = [quota.fraction for quota in raising.quotas.values()]
    if warning := profile.shortage(fractions, blueprint.options.dilation):
        say(f"warning: {warning}")
    return raising.changes


class _Raising:
    """One run of `up`, under the cluster's lock; collects what it changes."""

    def __init__(self, site: Site, blueprint: Blueprint, before: Record | None, say: Say) -> None:
        self.changes: list[str] = []
        self._site = site
        self._places = site.places
        self._blueprint = blueprint
        self._before = before
        self._say = say
        self._started: set[str] = set()
        self._rootfs = self._choose_rootfs()
        self._machine_gflops = self._measure()
        if blueprint.options.cpu_model == speed.STRETCHED:
            library.ensure()
        self.quotas = {node.name: self._quota_of(*blueprint.options.speed_of(node.name)) for node in blueprint.nodes}

    def run(self) -> None:
        """Change what differs, in this order: state, switch, links, nodes."""
        options = self._blueprint.options
        self._write_state()
        blueprint, controller_rate = self._blueprint, self._blueprint.controller_rate
        if network.ensure_switch(
            options.name,
            blueprint.addresses,
            blueprint.mark(options.controller_link),
            None if controller_rate is None else blueprint.slowed(controller_rate),
        ):
            self.changes.append("switch and controller port")
        self._shrink()
        machines = [self._site.machine(node) for node in self._blueprint.nodes]
        self.changes += wiring.ensure(self._blueprint, machines)
        for machine in machines:
            self._ensure(machine)
        failures = self._settle(machines)
        self._apply_speeds(machines)
        for machine in machines:
            if reason := failures.get(machine.node.name):
                raise machine.failure(reason)

    def _choose_rootfs(self) -> Path:
        """The root file system of this cluster: the one it was made with, as long as it is there."""
        suite = self._blueprint.options.suite
        if self._before is not None and self._before.rootfs.is_dir():
            if self._before.rootfs != rootfs.place(suite):
                self._say(
                    "warning: new clusters get another root file system than this one has: `down` and `up` renew it"
                )
            return self._before.rootfs
        if not rootfs.place(suite).is_dir():
            self._say(f"building the nodes' root file system of {suite} (once, about half a minute) ...")
        return rootfs.ensure(suite)

    def _measure(self) -> float | None:
        """This machine's rate where a node's quota follows from it; measured once in a cluster's life, so that `up` again
        changes nothing."""
        options = self._blueprint.options
        measured = self._before.machine_gflops if self._before else None
        speeds = [(options.profile, options.cpu), *(options.speed_of(node.name) for node in self._blueprint.nodes)]
        if measured is None and any(profile.needs_measurement(*speed) for speed in speeds):
            return profile.measure_machine()
        return measured

    def _quota_of(self, kind: str, cpu: float | None) -> profile.Quota:
        return profile.quota_of(kind, self._machine_gflops, cpu, self._blueprint.options.cpu_model)

    def _write_state(self) -> None:
        """Write keys, record and inventory before anything that they describe is made."""
        places, blueprint = self._places, self._blueprint
        places.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys.ensure_key(places.key, f"harness virtual cluster {places.name}")
        host_keys = {}
        for node in blueprint.nodes:
            key = keys.ensure_key(places.host_key(node.name), node.name)
            host_keys[node.name] = keys.public_key(key)
        write_record(places, self._record())
        text = inventory_text(
            places.name,
            list(blueprint.nodes),
            places.key,
            places.known_hosts,
            places.ssh_masters,
            blueprint.options.dilation,
            blueprint.options.memory,
            blueprint.options.machines,
            {node.name: board for node in blueprint.nodes if (board := blueprint.options.board_of(node.name))},
            shares_medium=blueprint.link.shared,
        )
        changed = write_atomically(places.known_hosts, keys.known_hosts(list(blueprint.nodes), host_keys))
        if write_atomically(places.inventory, text) or changed:
            self.changes.append("inventory")

    def _record(self) -> dict[str, object]:
        blueprint, options = self._blueprint, self._blueprint.options
        own = {*options.node_profiles, *options.node_cpus}
        created = self._before.created_at if self._before else datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "name": self._places.name,
            "created_at": created,
            "options": vars(options),
            "nodes": {node.name: node.address for node in blueprint.nodes},
            "controller": blueprint.addresses.controller,
            "link": {
                **blueprint.link.as_json(),
                "controller_bits_per_second": blueprint.controller_rate,
                "buffer_bytes": network.BUFFER_BYTES,
            },
            "memory_bytes": blueprint.memory,
            "quota": self._quota_of(options.profile, options.cpu).as_json(),
            "node_quotas": {name: quota.as_json() for name, quota in self.quotas.items() if name in own},
            "rootfs": {"suite": options.suite, "path": str(self._rootfs)},
            "machine": {
                "kernel": os.uname().release,
                "architecture": os.uname().machine,
                "cores": os.cpu_count(),
                "cgroup_version": self._site.hierarchies.version,
            },
            "harness": harness.__version__,
        }

    def _shrink(self) -> None:
        """Remove the nodes beyond the asked ones."""
        wanted = {node.name for node in self._blueprint.nodes}
        for name in sorted(self._site.nodes_with_remains() - wanted):
            node = VirtualNode(self._places.name, int(name.removeprefix("node")), address="")
            machine = self._site.machine(node)
            machine.stop()
            machine.remove_disk()
            machine.group.remove()
            network.disconnect(node)
            for file in self._places.key.parent.glob(f"{name}_host_*"):
                file.unlink()
            self.changes.append(f"{name}: removed")

    def _ensure(self, machine: Machine) -> None:
        """Make one node's disk and processes as asked."""
        if not machine.has_disk:
            machine.stop()
            host_key = self._places.host_key(machine.node.name)
            machine.make_disk(self._rootfs, host_key, keys.public_key(self._places.key))
        if not machine.is_running:
            machine.stop()  # what a crash may have left
            self._start(machine, "started")
        elif machine.group.memory() != (memory := self._blueprint.memory_of(machine.node.name)):
            machine.group.set_memory(memory)
            self.changes.append(f"{machine.node.name}: memory {self._blueprint.options.memory_of(machine.node.name)}")

    def _start(self, machine: Machine, word: str) -> None:
        machine.start(self._blueprint.memory_of(machine.node.name))
        self._started.add(machine.node.name)
        self.changes.append(f"{machine.node.name}: {word}")

    def _settle(self, machines: list[Machine]) -> dict[str, str]:
        """Wait until every node runs, starting again, once, those that were there before and do not answer.

        Returns what is wrong with those that still do not, by name.
        """
        failures = wait_until_running(self._places, machines)
        again = [machine for machine in machines if machine.node.name in failures.keys() - self._started]
        for machine in again:
            machine.stop()
            self._start(machine, "started again")
        return failures if not again else wait_until_running(self._places, machines)

    def _apply_speeds(self, machines: list[Machine]) -> None:
        """Hold every node to its speed. It comes last, so that nodes boot at full speed."""
        dilation = self._blueprint.options.dilation
        for machine in machines:
            quota = self.quotas[machine.node.name]
            content = speed.described(quota.model, quota.fraction, dilation)
            changed = speed.tell(machine.root, content)
            limit = quota.fraction if content["model"] == speed.QUOTA else None
            if machine.group.quota() != cgroup.as_kept(limit, dilation):
                machine.group.set_quota(limit, dilation)
                changed = True
            if changed and machine.node.name not in self._started:
                share = "without limit" if quota.fraction is None else f"{quota.fraction / dilation:.3f}"
                self.changes.append(f"{machine.node.name}: CPU {share}")


def wait_until_running(places: Places, machines: list[Machine]) -> dict[str, str]:
    """What is wrong with the nodes that do not run within the limit, by name; empty when all run."""
    given_up = threading.Event()
    enter = partial(namespace.enter_network_namespace, controller_namespace(places.name))
    with ThreadPoolExecutor(len(machines), initializer=enter) as pool:
        waits = [
            pool.submit(ssh.wait_until_running, places, each.node, READY_LIMIT_SECONDS, given_up) for each in machines
        ]
        try:
            words = [wait.result() for wait in waits]
        except BaseException:
            given_up.set()
            raise
    return {machine.node.name: word for machine, word in zip(machines, words, strict=True) if word is not None}


def _refuse_strangers(places: Places) -> None:
    """Raise ClusterError when namespaces have this cluster's names but belong to no cluster of the harness."""
    if owner_of(places) is None and (strangers := network.namespaces_of(places.name)):
        raise ClusterError(
            f"network namespaces that this harness did not make are in the way: {', '.join(strangers)}",
            "use another --name, or remove them with `ip netns delete`",
        )
