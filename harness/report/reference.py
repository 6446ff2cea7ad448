"""The reference pages that are made of tables: of columns, and of a program's parameters.

`python -m harness.report.reference > docs/reference/columns.md` and `python -m harness.report.reference train.py >
docs/reference/train.md` make them again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.analysis.metrics import METRICS
from harness.contract.columns import AGGREGATIONS, COLUMNS, Column
from harness.experiment.catalog import find_program
from harness.experiment.parameter import Parameter, condition

_ABOUT = {
    "trials.csv": "One row a trial. `<role>` stands for every role of the experiment's programs, in the order of their "
    "descriptions, `<parameter>` for every parameter of the experiment, by its own name. A parameter that has the name of a "
    "role's count has no column of its own.",
    "epochs.csv": "One row a trial, rank and epoch: the values of the program's `epoch` events.",
    "ranks.csv": "One row a trial and rank, for any program. What is not known is empty, for example where a node was lost.",
    "telemetry.csv": "One row a node and sample.",
    "power.csv": "One row a meter and sample, while the sweep ran; one a sweep of what was not measured. Only where there "
    "is any of these.",
    "rates.csv": "One row a node, after lines `# name: value` that say what was measured (`harness benchmark`).",
    "comparison.csv": "One row a run and number that two runs or more have (`harness compare --csv`).",
}


def columns_page() -> str:
    """The page as Markdown, made from COLUMNS and METRICS."""
    parts = [
        "# Columns",
        "Made from `harness/contract/columns.py` and `harness/analysis/metrics.py` by `python -m harness.report.reference`. "
        "Every column of a run directory's tables, and every number that the report forms of them. A fraction is of 1.",
        "How a value of trials.csv is formed of all workers' values in epochs.csv:",
        _table(("over workers", "how"), [(f"`{name}`", how) for name, how in AGGREGATIONS.items()]),
    ]
    for file, columns in COLUMNS.items():
        parts += [f"## {file}", _ABOUT[file], _columns_table(columns, aggregated=file == "trials.csv")]
    parts += [
        "## Numbers of the report",
        "Of a trial, and as medians over the repeats of a cluster size. Those with names of trials.csv are taken from there.",
        _columns_table(tuple(METRICS.values()), aggregated=False),
    ]
    return "\n\n".join(parts) + "\n"


def parameters_page(name: str) -> str:
    """The page of a packaged program's roles and parameters, as Markdown. Raises BadInputError where there is none."""
    program = find_program(name)
    stem = name.removesuffix(".py")
    parts = [
        f"# Parameters of {name}",
        f"Made from `experiments/programs/{stem}.program.yaml` by `python -m harness.report.reference {name}`.",
        program.description,
        "## Roles",
        "[Programs](programs.md#roles) says what each heading means.",
        _table(
            ("role", "on", "count", "ends", "when"),
            [
                (
                    f"`{role}`",
                    each.on.replace("|", r"\|"),
                    str(each.count or "one each"),
                    each.ends,
                    condition(each.when) or "always",
                )
                for role, each in program.roles.items()
            ],
        ),
        "## Parameters",
        "An experiment writes them with underscores, the command line of the program with hyphens: `--batch-size=32`. "
        "A parameter is refused where it means nothing, unless it has its default value.",
        _table(
            ("parameter", "values", "default", "meaning"),
            [
                (f"`{word}`", _allowed(each), _default(each), " ".join([each.help, *each.conditions]))
                for word, each in (program.parameters or {}).items()
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _allowed(parameter: Parameter) -> str:
    if parameter.type != "choice":
        return parameter.allowed
    return ", ".join(f"`{choice}`" for choice in parameter.choices)


def _default(parameter: Parameter) -> str:
    value = parameter.default
    return "not set" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _columns_table(columns: Sequence[Column], *, aggregated: bool) -> str:
    head = ("column", "unit", *(("over workers",) if aggregated else ()), "meaning")
    rows = [
        (f"`{each.name}`", each.unit, *((f"`{each.aggregation}`",) if aggregated else ()), each.meaning)
        for each in columns
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(parameters_page(sys.argv[1]) if sys.argv[1:] else columns_page())
