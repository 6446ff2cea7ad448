"""Whoever is told that something is wrong with a node is told what to do."""

from __future__ import annotations

import ast

from harness.paths import REPOSITORY


def test_every_error_of_a_node_has_a_remedy() -> None:
    without = []
    for path in sorted((REPOSITORY / "harness").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "NodeError" and len(call.args) < 3:
                without.append(f"{path.relative_to(REPOSITORY)}:{call.lineno}")
    assert without == []
