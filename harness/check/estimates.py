"""What a program says of a trial before it starts: the file that its description names is asked, here on the controller."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.contract.json_line import parse_json
from harness.errors import BadInputError
from harness.experiment.parameter import Value
from harness.system.commands import run

LIMIT_SECONDS = 60.0
_REMEDY = "docs/reference/programs.md says what it is asked and answers"

_TOLD = ConfigDict(frozen=True, allow_inf_nan=False)
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Question:
    """A trial with these arguments and so many ranks of each role, on nodes with so much memory (None: unknown)."""

    arguments: tuple[str, ...]
    ranks: Mapping[str, int]
    memory_bytes: int | None = None


class Memory(BaseModel):
    """What one of its workers needs of its node's memory."""

    model_config = _TOLD

    text: str
    """The need in words."""
    nbytes: Count
    fits: bool
    instead: tuple[dict[str, Value], ...] = ()
    """Where it does not fit, parameters each of which makes it fit."""


class Traffic(BaseModel):
    """What its workers send each other."""

    model_config = _TOLD

    meetings: Amount
    """In an epoch, on average."""
    sent_bytes: Amount
    """In a meeting, by the node that sends most, or receives where that is more."""
    phased_bytes: Amount
    """Of them those that pass one link one after the other."""
    hides: Amount
    """Behind which part of computing those can travel that are not shown."""
    exact: bool
    """Whether a step is that of one worker with all the batches."""
    one_model: bool
    """Whether one model comes of it."""
    shown_bytes: Amount = 0.0
    """Of the phased ones those that travel while nobody computes."""
    told_bytes: Amount = 0.0
    """Sent beside, once an epoch, when its steps are done; by the node that sends most."""
    total_bytes: Amount | None = None
    """In a meeting, from node to node, of all nodes together; None where all send as much."""
    among: Count | None = None
    """Nodes that send to each other at once; None: all."""
    outside_bytes: Amount | None = None
    """In a meeting, between all workers and servers that have machines of their own; None where there are no servers."""
    requests: Count = 0
    """Pushes and pulls of a worker that servers answer, each by itself."""
    images: Amount = 1.0
    """How many times as long as for its own batch, by the whole model, the slowest worker computes for images, or waits for
    computing."""
    fixed: Amount = 1.0
    """The same of what a step takes whatever its images."""

    def of_all(self, nodes: int) -> float:
        """What so many nodes send in a meeting, all together."""
        return nodes * self.sent_bytes if self.total_bytes is None else self.total_bytes


class Estimate(BaseModel):
    """What a program says of a trial; None of what it does not know."""

    model_config = _TOLD

    memory: Memory | None = None
    traffic: Traffic | None = None
    steps: Count | None = None
    """In an epoch."""
    operations: Amount | None = None
    """For one image of a step of a worker alone, what takes as long as so many multiply-adds."""
    fixed: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The part of such a step that is the same whatever its images."""
    parameters: Count | None = None
    """Trained values."""
    fault: str = ""
    """Why there is no estimate: the trial would end with it."""
    remedy: str = ""


_ANSWERS = TypeAdapter(list[Estimate])


def estimates(estimator: Path, questions: Sequence[Question]) -> list[Estimate]:
    """The answers of an estimator, in the order of the questions.

    Raises BadInputError where it fails, takes longer than LIMIT_SECONDS, or answers what no estimates are.
    """
    if not questions:
        return []
    text = json.dumps([asdict(question) for question in questions]).encode()
    said = run(
        [sys.executable, estimator], limit_seconds=LIMIT_SECONDS, error=BadInputError, remedy=_REMEDY, stdin=text
    )
    try:
        answers = _ANSWERS.validate_python(parse_json(said))
    except ValueError as error:
        raise BadInputError(f"{estimator} answers what no estimates are: {_fault(error)[:200]}", _REMEDY) from None
    if len(answers) != len(questions):
        raise BadInputError(f"{estimator} was asked {len(questions)} questions, and answers {len(answers)}", _REMEDY)
    return answers


def _fault(error: ValueError) -> str:
    """What is wrong first, and where: the number of the answer, from 0, and the keys to it."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
