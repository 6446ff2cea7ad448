"""`python agent VERB`."""

import sys
from pathlib import Path

# A directory that is run is no package to itself; and its modules are not to hide others.
sys.path[0] = str(Path(__file__).resolve().parent.parent)


from contract import wire  # noqa: E402


def main(verb: str) -> int:
    """Run a verb, with as few of the modules as it needs: every rank has a keeper, and loading takes a small board time."""
    if verb == wire.KEEP:
        from agent.keeper import keep

        return keep(Path(sys.argv[2]))
    from agent.command import main as answer

    return answer(verb)


sys.exit(main(sys.argv[1]))
