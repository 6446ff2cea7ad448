"""Nodes that are this machine: the inventory of a test's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path


def write_inventory(file: Path, root: Path, hosts: Mapping[str, str | Mapping[str, object]], **more: object) -> Path:
    """Write an inventory of these hosts, each with its loopback address or its variables; ranks are below `root`.

    `more` are further variables of all of them.
    """
    variables = {
        "cluster_kind": "local", "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "node_root": str(root), "node_supervisor": "process", "node_shared_machine": True, **more,
    }  # fmt: skip
    described = {name: {"ansible_host": of} if isinstance(of, str) else of for name, of in hosts.items()}
    file.write_text(json.dumps({"nodes": {"hosts": described, "vars": variables}}), encoding="utf-8")
    return file
