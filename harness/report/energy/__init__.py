"""The tables of energy: of the trials by cluster size, and of each node, the switch and the controller."""

from __future__ import annotations

from harness.report.energy.tables import energy_table, energy_tables

__all__ = ["energy_table", "energy_tables"]
