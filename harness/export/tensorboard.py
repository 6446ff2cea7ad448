"""TensorBoard: a log directory a trial, its numbers by epoch with the time at which they came, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.summary import hparams

from harness.contract.columns import Column
from harness.errors import BadInputError
from harness.export.contents import Contents
from harness.export.trials import Point, Trial, trials_of

_LARGEST = 3.4e38
"""TensorBoard keeps numbers in single precision."""


def write(run: Contents, directory: Path, _: Path) -> None:
    """Write a log directory of every trial into the directory. Raises BadInputError where a trial's id names none."""
    for trial in trials_of(run):
        if trial.id != Path(trial.id).name or trial.id.startswith("."):
            raise BadInputError(
                f"trial {trial.id!r} cannot be the name of a directory", "put trials.csv back as the harness wrote it"
            )
        log = directory / trial.id
        log.mkdir()
        _write_trial(trial, log)


def _write_trial(trial: Trial, log: Path) -> None:
    # The library's usual writer works in another thread, where a full disk would go unnoticed.
    writer = EventsWriter(str(log / "events"))
    try:
        tags = {f"trial/{column.name}": (column, value) for column, value in trial.numbers if abs(value) < _LARGEST}
        for summary in hparams(trial.settings, {tag: value for tag, (_, value) in tags.items()}):
            writer.write_event(Event(summary=summary, wall_time=trial.began))
        shown: set[str] = set()
        for (epoch, moment), points in groupby(_in_order(trial), key=lambda each: (each.epoch, each.moment)):
            values = {_tag(each): (each.column, each.value) for each in points}
            writer.write_event(Event(summary=_summary(values, shown), wall_time=moment, step=epoch))
        if tags:
            writer.write_event(Event(summary=_summary(tags, shown), wall_time=trial.ended))
    finally:
        writer.close()


def _in_order(trial: Trial) -> list[Point]:
    kept = (each for each in trial.points if abs(each.value) < _LARGEST)
    return sorted(kept, key=lambda each: (each.epoch, each.moment))


def _tag(point: Point) -> str:
    """Tags with the same beginning are in one section of TensorBoard's page."""
    return f"epoch/{point.column.name}" if point.rank is None else f"{point.column.name}/rank{point.rank}"


def _about(column: Column) -> SummaryMetadata:
    plugin = SummaryMetadata.PluginData(plugin_name="scalars")
    return SummaryMetadata(plugin_data=plugin, summary_description=f"{column.unit}: {column.meaning}")


def _summary(values: Mapping[str, tuple[Column, float]], shown: set[str]) -> Summary:
    """The values by their tags; unit and meaning go with the first one of a tag, and `shown` is added to."""
    found = []
    for tag, (column, value) in values.items():
        about = None if tag in shown else _about(column)
        shown.add(tag)
        found.append(Summary.Value(tag=tag, simple_value=value, metadata=about))
    return Summary(value=found)
