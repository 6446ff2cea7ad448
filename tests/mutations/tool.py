"""Mutations made by a tool: `python -m tests.mutations.tool [--only WORDS] [--jobs N]` runs mutmut on the pure packages.

It works in a copy of the repository, which it makes anew. It prints the score of every file, and what no test noticed. Exit
status 1 where the score is below the bar.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutations.copy import copy_repository

BAR = 0.85
NOTICED, LIVED, UNTESTED = "noticed", "lived", "no test"

PURE: Mapping[str, Sequence[str]] = {
    "contract/events.py": ("contract",),
    "contract/json_line.py": ("contract",),
    "experiment/secrets.py": ("results/test_redaction.py",),
    "experiment/overrides.py": ("experiment",),
    "experiment/plan.py": ("experiment",),
    "experiment/parameter.py": ("experiment",),
    "experiment/program.py": ("experiment",),
    "experiment/rates.py": ("experiment", "sweep/test_benchmark.py"),
    "experiment/yaml_file.py": ("experiment",),
    "nodes/host_variables.py": ("nodes/test_inventory.py",),
    "launch/placement.py": ("launch",),
    "launch/checkpoints.py": ("launch",),
    "launch/replacements.py": ("launch",),
    "launch/watch.py": ("launch",),
    "results/repair.py": ("results/test_odd_files.py", "results/test_durability.py", "sweep/test_sweep.py"),
    "results/rows.py": ("results/test_rows.py", "sweep"),
    "results/dilation.py": ("results/test_dilation.py",),
    "analysis/measures.py": ("report/test_report_analysis.py", "analysis"),
    "analysis/series.py": ("report/test_report_analysis.py",),
    "analysis/epochs.py": ("report/test_report_analysis.py",),
    "predict/solve.py": ("predict/test_predict_solve.py",),
}
"""Files of harness/ without input and output of their own, each with the tests below tests/unit that are about it."""


def main() -> int:
    """Run the tool on every file and print the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="files with these words in their path")
    parser.add_argument("--jobs", type=int, default=1, help="how many mutations at once")
    options = parser.parse_args()
    chosen = {file: PURE[file] for file in PURE if not options.only or any(words in file for words in options.only)}
    if shutil.which("mutmut", path=str(Path(sys.executable).parent)) is None:
        print("mutmut is not installed: pip install -e '.[mutants]'", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="harness-mutmut-") as scratch:
        root = Path(scratch) / "repository"
        copy_repository(root)
        (root / "setup.cfg").write_text(configuration(chosen), encoding="utf-8")
        command = [str(Path(sys.executable).parent / "mutmut"), "run", "--max-children", str(options.jobs)]
        done = subprocess.run(command, cwd=root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        states = {file: found for file in chosen if (found := states_of(root / "mutants" / "harness" / f"{file}.meta"))}
        if not states:
            print(done.stdout.decode(errors="replace")[-3000:], file=sys.stderr)
            return 2
        return report(states)


def configuration(chosen: Mapping[str, Sequence[str]]) -> str:
    """What mutmut reads from setup.cfg."""
    tests = sorted({f"tests/unit/{test}" for each in chosen.values() for test in each})
    lists = {
        "only_mutate": [f"harness/{file}" for file in chosen],
        "also_copy": ["experiments", "ansible", "inventory", "docs", "ansible.cfg"],
        "pytest_add_cli_args_test_selection": tests,
        # The copy that the tool works on has no links.
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-k", "not test_the_nodes_file_is_the_controllers"],
    }
    text = "".join(f"{name}=\n{''.join(f'  {word}' + chr(10) for word in words)}" for name, words in lists.items())
    return "[mutmut]\nsource_paths=harness\n" + text


def states_of(meta: Path) -> dict[str, str]:
    """What came of each mutation of a file: by its name."""
    if not meta.is_file():
        return {}
    codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    names = {0: LIVED, 5: UNTESTED, 33: UNTESTED}
    return {name: names.get(code, NOTICED) for name, code in codes.items() if code is not None}


def report(states: Mapping[str, Mapping[str, str]]) -> int:
    """Print the score, by file too, as Markdown; 1 where it is below the bar."""
    print("| file | mutations | noticed | lived | no test |\n|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for file, found in states.items():
        counts = Counter(found.values())
        total += counts
        print(f"| {file} | {len(found)} | {counts[NOTICED]} | {counts[LIVED]} | {counts[UNTESTED]} |")
    score = total[NOTICED] / max(total.total(), 1)
    print(f"| all | {total.total()} | {total[NOTICED]} ({score:.1%}) | {total[LIVED]} | {total[UNTESTED]} |")
    for found in states.values():
        print(*(f"{state}: {name}" for name, state in found.items() if state != NOTICED), sep="\n")
    return 0 if score >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
