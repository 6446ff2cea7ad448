"""The verb `demo`."""

from __future__ import annotations

import ctypes
from pathlib import Path

import typer

from harness.cli.group import verb_app
from harness.cli.nodes.provision import play
from harness.cli.options import DEFAULT_RESULTS, Quiet, Results
from harness.cli.running.sweep import sweep
from harness.console import err
from harness.errors import EXIT_OK, BadInputError
from harness.paths import INVENTORIES
from harness.system.packages import MXNET_PACKAGES, own_architecture, read_packages

app = verb_app()

# What MXNet's wheels load of each package that they need.
_LIBRARY_OF = {
    "libgomp1": "libgomp.so.1",
    "libgfortran5": "libgfortran.so.5",
    "libquadmath0": "libquadmath.so.0",
    "libopenblas0-pthread": "libopenblas.so.0",
    "liblapacke": "liblapacke.so.3",
}


@app.command()
def demo(results: Results = DEFAULT_RESULTS, quiet: Quiet = False) -> None:
    """Provision this machine as local nodes and sweep the quickstart experiment on them.

    It trains LeNet-5 on the digits that come along, on 1, 2 and 3 nodes, and makes the report; without root.
    """
    require_libraries()
    inventory = INVENTORIES / "local"
    err.print(f"installing MXNet's runtime for this machine: harness provision -i {inventory}", soft_wrap=True)
    code = play("site", inventory, [])
    if code != EXIT_OK:
        raise typer.Exit(code)
    sweep(Path("quickstart"), inventory=inventory, results=results, quiet=quiet)


def require_libraries() -> None:
    """Raise BadInputError that names the system libraries which MXNet needs and this machine lacks."""
    packages = read_packages([MXNET_PACKAGES], own_architecture())
    missing = [package for package in packages if not _is_there(_LIBRARY_OF[package])]
    if missing:
        libraries = ", ".join(_LIBRARY_OF[package] for package in missing)
        raise BadInputError(f"MXNet needs {libraries}", f"as root: apt-get install {' '.join(missing)}")


def _is_there(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
