"""The fault matrix. Its cases are in several modules, which enter them in one list."""

from tests.faults import cases, harness_cases, native_cases, node_cases, program_cases

__all__ = ["cases", "harness_cases", "native_cases", "node_cases", "program_cases"]
