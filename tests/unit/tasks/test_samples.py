"""Data that do not fit a node are refused before they are read."""

from __future__ import annotations

import pytest
from tasks.work.samples import require_memory
from training.errors import ProgramError

PI = {"HARNESS_MEMORY_BYTES": str(2 << 30), "HARNESS_NODE": "pi01"}


def test_data_that_do_not_fit_a_node_are_refused_with_what_helps() -> None:
    with pytest.raises(ProgramError) as caught:
        require_memory("mnist", 8, PI)
    assert "mnist needs about 2093 MiB in 8 processes; pi01 has 2048 MiB" in caught.value.message
    assert "pool=threads" in caught.value.remedy


def test_what_fits_and_where_nothing_is_known_is_not() -> None:
    require_memory("mnist", 4, PI)
    require_memory("digits", 100, PI)
    require_memory("mnist", 100, {})
