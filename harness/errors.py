"""The errors a user can meet. Each names the thing, the remedy, and the exit code of the command that met it."""

from __future__ import annotations

EXIT_OK = 0
EXIT_TRIALS_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_CHECK_FAILED = 3
EXIT_CLUSTER = 4
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Base of all errors that are shown without a traceback."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class BadInputError(HarnessError):
    """The user's arguments, experiment, inventory or files are wrong; nothing was started."""


class NodeError(HarnessError):
    """A node could not be reached or refused what was asked of it; `node` is its name."""

    def __init__(self, node: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{node}: {message}", remedy)
        self.node = node


class ClusterError(HarnessError):
    """A virtual cluster could not be brought up or taken down."""

    exit_code = EXIT_CLUSTER


class ImageError(HarnessError):
    """A tool that makes, boots or writes a card image failed, or the card did not keep what was written."""

    exit_code = EXIT_CLUSTER
