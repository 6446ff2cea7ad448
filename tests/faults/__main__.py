"""The fault matrix: `python -m tests.faults --inventory INVENTORY [--short] [--only WORDS]`, on 4 virtual nodes, as root.

With `--list` it only prints the names of the cases.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from tests.faults.cases import CASES, Case, Result
from tests.faults.rig import Rig


def main() -> int:
    """Run the cases and print the table; 1 where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--inventory", "-i", type=Path, help="of a provisioned virtual cluster")
    what.add_argument("--list", action="store_true", help="print the names of the cases, and run none")
    parser.add_argument("--short", action="store_true", help="only the cases of CI")
    parser.add_argument("--long", action="store_true", help="also the cases that take many minutes")
    parser.add_argument("--only", action="append", default=[], help="cases with these words in their name")
    options = parser.parse_args()
    chosen = [
        each
        for each in CASES
        if (any(words in each.name for words in options.only) if options.only else is_chosen(each, options))
    ]
    if options.list:
        print(*(each.name for each in chosen), sep="\n")
        return 0
    rig = Rig(options.inventory)
    results = {}
    try:
        for each in chosen:
            results[each.name] = result = run(rig, each)
            print(row(each.name, result), flush=True)
    finally:
        rig.close()
    held = sum(result.held for result in results.values())
    print(f"\n{table(results)}\n{held} of {len(results)} cases held")
    return 0 if held == len(results) else 1


def is_chosen(each: Case, options: argparse.Namespace) -> bool:
    """Whether a case belongs to the form that was asked for."""
    return each.short if options.short else options.long or not each.long


def run(rig: Rig, each: Case) -> Result:
    """One case; what goes wrong with it is its outcome."""
    try:
        result = each.run(rig)
    except Exception as error:  # a case that breaks must not take the others along
        traceback.print_exc()
        result = Result(f"broke: {error}", False, None, None, len(rig.ranks()), 0, 0)
    if result.left or not result.as_promised:
        rig.harness("clean", "--force", "-i", str(rig.inventory)).end(120)
    return result


def table(results: dict[str, Result]) -> str:
    """All results as Markdown."""
    head = "| case | held | outcome | detect s | clean s | ranks left | rows lost | limit s |"
    return "\n".join([head, "|---" * 8 + "|", *(row(name, result) for name, result in results.items())])


def row(name: str, result: Result) -> str:
    """One line of the table."""
    times = ["" if seconds is None else f"{seconds:.1f}" for seconds in (result.detect, result.clean)]
    outcome = " ".join(result.outcome.split())[:110].replace("|", "/")
    held = "yes" if result.held else "NO"
    cells = [name, held, outcome, *times, str(result.left), str(result.lost), f"{result.limit:.0f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
