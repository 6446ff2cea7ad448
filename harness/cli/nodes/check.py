"""The verb `check`."""

from __future__ import annotations

import json
import sys

import typer
from rich.table import Table
from rich.text import Text

from harness.check.findings import Finding
from harness.check.network import check_cluster
from harness.cli.group import verb_app
from harness.cli.inputs import find_cluster, first_nodes
from harness.cli.options import AsJson, AskBecomePass, FirstNodes, Inventory
from harness.console import out
from harness.energy.look import meter_findings
from harness.energy.metering import metering_of
from harness.errors import EXIT_CHECK_FAILED
from harness.launch.code import packaged_code
from harness.nodes.session import Session

app = verb_app()


@app.command()
def check(
    inventory: Inventory = None,
    nodes: FirstNodes = None,
    ask_become_pass: AskBecomePass = False,
    as_json: AsJson = False,
) -> None:
    """Examine every node: SSH, clock, memory, disk, runtime, and the network of each pair.

    And asks every power meter once.
    """
    cluster = find_cluster(inventory, ask_become_pass)
    metering = metering_of(cluster)
    with Session(cluster) as session:
        looked_at = cluster.hosts if nodes is None else first_nodes(cluster, nodes)
        findings = check_cluster(session, cluster, looked_at, packaged_code())
    findings += meter_findings(metering.of_nodes({node.name for node in looked_at}))
    if as_json:
        sys.stdout.write(json.dumps([vars(finding) for finding in findings], indent=2) + "\n")
    else:
        _print_findings(findings)
    if any(finding.level == "failed" for finding in findings):
        raise typer.Exit(EXIT_CHECK_FAILED)


def _print_findings(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "what", "", "detail"):
        table.add_column(heading, overflow="fold")
    colours = {"ok": "green", "warning": "yellow", "failed": "red"}
    for finding in findings:
        detail = f"{finding.detail}\ntry: {finding.remedy}" if finding.remedy else finding.detail
        table.add_row(finding.node, finding.what, Text(finding.level, style=colours[finding.level]), detail)
    out.print(table)
    failed = sum(finding.level == "failed" for finding in findings)
    warned = sum(finding.level == "warning" for finding in findings)
    out.print(f"{len(findings)} findings: {failed} failed, {warned} warnings")
