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

app = verb_app()

# What MXNet's wheel needs of the system, and the Debian package that has it.
_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0", "libgfortran.so.5": "libgfortran5"}


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
    missing = [name for name in _LIBRARIES if not _is_there(name)]
    if missing:
        packages = " ".join(_LIBRARIES[name] for name in missing)
        raise BadInputError(f"MXNet needs {', '.join(missing)}", f"as root: apt-get install {packages}")


def _is_there(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
