"""The state of virtual clusters on this machine: its paths, its owner, its record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import paths
from harness.errors import BadInputError, ClusterError
from harness.nodes import namespace
from harness.system.files import write_whole
from harness.virtual.blueprint import Options
from harness.virtual.host.lock import exclusive
from harness.virtual.host.names import checked_name, controller_namespace

# One per machine whatever the state directories: namespaces and control groups are the machine's.
CLAIMS = Path("/run/harness")
_LOCK_LIMIT_SECONDS = 120.0
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/@+=-]+")


@dataclass(frozen=True)
class Places:
    """Every path of one cluster."""

    name: str

    @property
    def directory(self) -> Path:
        """All state."""
        return paths.state_directory() / self.name

    @property
    def record(self) -> Path:
        """What the cluster is, as JSON."""
        return self.directory / "cluster.json"

    @property
    def record_link(self) -> Path:
        """Link to the record beside the inventory, for readers that know only the inventory."""
        return self.inventory.with_name("cluster.json")

    @property
    def inventory(self) -> Path:
        """The Ansible inventory."""
        return self.directory / "inventory" / "hosts.yml"

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys."""
        return self.directory / "inventory" / "known_hosts"

    @property
    def key(self) -> Path:
        """The user's SSH key."""
        return self.directory / "keys" / "id_ed25519"

    def host_key(self, node: str) -> Path:
        """The host key of node `node`."""
        return self.directory / "keys" / f"{node}_host_ed25519"

    @property
    def nodes(self) -> Path:
        """Directory of the nodes' disks."""
        return self.directory / "nodes"

    def node(self, node: str) -> Path:
        """Disk and console of node `node`."""
        return self.nodes / node

    @property
    def claim(self) -> Path:
        """Directory that says which state directory owns the name on this machine."""
        return CLAIMS / self.name

    @property
    def lock(self) -> Path:
        """Lock of the cluster, beside the claim."""
        return CLAIMS / f"{self.name}.lock"

    @property
    def ssh_masters(self) -> Path:
        """Ansible's SSH control sockets; short, since a socket's path may have 108 bytes."""
        return self.claim / "ssh"

    @property
    def machine_network(self) -> Path:
        """The machine's own network namespace, bound here for commands that must leave the cluster's."""
        return self.claim / "machine_network"

    @property
    def owner(self) -> Path:
        """File in the claim that holds the state directory's path."""
        return self.claim / "state_directory"


@dataclass(frozen=True)
class Record:
    """What later commands need from cluster.json. Quotas are in cores; `machine_gflops` is the speed of one core."""

    options: Options
    created_at: str
    rootfs: Path
    quota: float | None
    node_quotas: Mapping[str, float | None]
    machine_gflops: float | None


def clusters_up() -> list[str]:
    """Names of the virtual clusters in the state directory that are up."""
    return sorted(
        record.parent.name
        for record in paths.state_directory().glob("*/cluster.json")
        if Places(record.parent.name).inventory.is_file() and namespace.exists(controller_namespace(record.parent.name))
    )


def default_inventory() -> Path | None:
    """Inventory of the virtual cluster that is up, or None. Raises BadInputError where there are several."""
    names = clusters_up()
    if len(names) > 1:
        raise BadInputError(
            f"{len(names)} virtual clusters are up: {', '.join(names)}", f"name the one to use: -i {names[0]}"
        )
    return Places(names[0]).inventory if names else None


def cluster_of(inventory: Path) -> str | None:
    """Name of the virtual cluster that is up and has this inventory, or None."""
    path = inventory.resolve()
    return next(
        (
            name
            for name in clusters_up()
            if path in (Places(name).inventory.resolve(), Places(name).inventory.parent.resolve())
        ),
        None,
    )


def places_of(name: str) -> Places:
    """The paths of cluster `name`; BadInputError when name or state directory cannot be used."""
    places = Places(checked_name(name))
    if not places.directory.is_absolute() or not _PLAIN_PATH.fullmatch(str(places.directory)):
        raise BadInputError(
            f"state directory {places.directory} cannot be used: it goes into mount options and SSH's configuration",
            "set HARNESS_STATE_DIR to an absolute path of letters, digits and ._/@+=-",
        )
    return places


@contextmanager
def locked(places: Places) -> Iterator[None]:
    """Hold the cluster's lock; ClusterError when another command keeps it for minutes."""
    with exclusive(places.lock, limit=_LOCK_LIMIT_SECONDS, doing=f"works on virtual cluster {places.name}"):
        try:
            yield
        finally:
            if not places.claim.exists():
                places.lock.unlink(missing_ok=True)


def claim(places: Places) -> None:
    """Take the name for this state directory; call it under the lock. Raises ClusterError when another has it."""
    owner = owner_of(places)
    if owner is not None and owner != places.directory:
        raise ClusterError(
            f"a virtual cluster {places.name} is up already, with its state in {owner}",
            f"use another --name, or set HARNESS_STATE_DIR={owner.parent}",
        )
    places.ssh_masters.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(places.owner, f"{places.directory}\n")


def owner_of(places: Places) -> Path | None:
    """State directory of the cluster that has the name now, or None."""
    try:
        return Path(places.owner.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None


def read_record(places: Places) -> Record | None:
    """What `up` wrote about the cluster, None where there is none; ClusterError when it is damaged."""
    try:
        content = json.loads(places.record.read_text(encoding="utf-8"))
        return Record(
            options=Options(**content["options"]),
            created_at=content["created_at"],
            rootfs=Path(content["rootfs"]["path"]),
            quota=content["quota"]["fraction"],
            node_quotas={name: quota["fraction"] for name, quota in content.get("node_quotas", {}).items()},
            machine_gflops=content["quota"]["machine_gflops"],
        )
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ClusterError(f"{places.record} cannot be read", "run it as root") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{places.record} is damaged: {error}", f"run `harness cluster down --name {places.name}`"
        ) from error


def write_record(places: Places, content: dict[str, object]) -> None:
    """Write cluster.json."""
    write_atomically(places.record, json.dumps(content, indent=2) + "\n")
    if not places.record_link.is_symlink():
        places.record_link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.record_link.symlink_to(Path("..") / places.record.name)


def write_atomically(file: Path, text: str) -> bool:
    """Write `file` whole or not at all; return whether its content changed."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return write_whole(file, text.encode())
