"""Take a cluster down: remove what has its name or is in its directories, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from harness.errors import ClusterError
from harness.virtual import ssh
from harness.virtual.host import cgroup, network, processes, requirements
from harness.virtual.host.names import VirtualNode
from harness.virtual.site import Site
from harness.virtual.state import locked, owner_of, places_of

Say = Callable[[str], None]


def down(name: str, say: Say = print) -> bool:
    """Remove everything of cluster `name`. Returns False when there was nothing.

    Raises ClusterError when something cannot be removed; `down` can then be run again.
    """
    places = places_of(name)
    requirements.require_root()
    if not (places.directory.exists() or places.claim.exists()):
        return False
    with locked(places):
        owner = owner_of(places)
        if owner is not None and owner != places.directory:
            raise ClusterError(
                f"virtual cluster {name} belongs to the state directory {owner}",
                f"set HARNESS_STATE_DIR={owner.parent}",
            )
        _remove_nodes(Site.of(name))
        ssh.end_masters(places.ssh_masters)
        for process in processes.end_all_in(network.namespaces_of(name)):
            say(f"ended {process}, which was in the cluster's network")
        for namespace in network.namespaces_of(name):
            network.remove_namespace(namespace)
        # the claim last: whatever ends this before leaves it for the next `down`
        for directory in (places.directory, places.claim):
            processes.unmount_below(directory)
            if directory.exists():
                shutil.rmtree(directory)
    return True


def _remove_nodes(site: Site) -> None:
    for name in sorted(site.nodes_with_remains()):
        machine = site.machine(VirtualNode(site.places.name, int(name.removeprefix("node")), address=""))
        machine.stop()
        machine.remove_disk()
        machine.group.remove()
    for hierarchy in site.hierarchies.all:
        cgroup.remove_tree(hierarchy / site.group)
