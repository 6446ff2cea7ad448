"""`python -m harness.images STEP`, as the image roles and this package's own children run it.

The step's arguments are JSON on stdin, its result is one JSON object on stdout. Users have `harness image`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import BadInputError, HarnessError
from harness.images import steps
from harness.images.base.assemble import populate
from harness.images.base.binfmt import require_foreign_binaries
from harness.images.emulation.arm64 import enter

STEPS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
    "allow-arm64": lambda _: require_foreign_binaries(),
    "check-nodes": steps.check_nodes,
    "base-debian": steps.base_debian,
    "base-rpios": steps.base_rpios,
    "node": steps.node,
    "key": steps.key,
    "known-hosts": steps.known_hosts,
    "emulate": steps.emulate,
    "stop": steps.stop,
    "run-arm64": steps.run_arm64,
    "write": steps.write,
    "populate": populate,
    "enter": enter,
}


def main() -> int:
    """Run the step named by the first argument; an error is told on stderr, with its remedy and exit code."""
    try:
        if len(sys.argv) != 2 or sys.argv[1] not in STEPS:
            raise BadInputError("name one step", ", ".join(STEPS))
        result = STEPS[sys.argv[1]](json.load(sys.stdin))
    except HarnessError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  try: {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result or {}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
