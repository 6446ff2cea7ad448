"""The entries of datasets.yaml, and their files as arrays."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ProgramError
from ..yaml_file import DATA, read_mapping
from . import readers
from .dataset import Dataset, Split

DATASETS = DATA / "datasets.yaml"

TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True)
class Entry:
    """What the programs must know of a data set."""

    name: str
    reader: str
    """A module of `readers`."""
    embedded: bool
    """Whether its files travel with the code."""
    images: tuple[int, int, int]
    """Height, width, channels."""
    classes: int
    """Labels are 0 to classes - 1."""
    deviation: float
    files: tuple[str, ...]
    """Their names on a node, where the entry says them."""
    options: Mapping[str, Any]
    """Everything else that the entry says; a reader may ask for it."""
    counts: tuple[int, int] | None = None
    """Images for training and for validation, where the entry says them."""

    def directory(self, data_directory: Path) -> Path:
        """Where its files are."""
        return (DATA if self.embedded else data_directory) / self.name


def catalogue(path: Path = DATASETS) -> dict[str, Entry]:
    """Every data set, by name. Raises ProgramError where an entry is wrong."""
    return {name: _entry(name, value, path) for name, value in read_mapping(path).items()}


def named(name: str, path: Path = DATASETS) -> Entry:
    """One data set. Raises ProgramError where there is none of that name."""
    entries = read_mapping(path)
    if name not in entries:
        raise ProgramError(f"there is no data set {name}", f"choose one of: {', '.join(entries)}")
    return _entry(name, entries[name], path)


def load(name: str, data_directory: Path, limit: int | None = None) -> Dataset:
    """Load `data_directory`/`name` (what is embedded from beside the code), at most `limit` training images.

    Raises ProgramError naming the file and what is wrong with it.
    """
    entry = named(name)
    read = import_module(f".{entry.reader}", readers.__name__).read
    directory = entry.directory(data_directory)
    train: Split = read(directory, TRAIN, entry)
    validation: Split = read(directory, VALIDATION, entry)
    if train.images.shape[1:] != validation.images.shape[1:]:
        raise ProgramError(f"{directory}: training and validation images differ in size", readers.REMEDY)
    if limit is not None:
        train = Split(train.images[:limit], train.labels[:limit])
    return Dataset(train, validation, entry.deviation, entry.classes)


def _entry(name: str, value: object, path: Path) -> Entry:
    def wrong(what: str) -> ProgramError:
        return ProgramError(f"{path}: data set {name}: {what}", "mend the entry; the file says what each holds")

    known = [module.name for module in pkgutil.iter_modules(readers.__path__)]
    if not isinstance(value, dict) or not isinstance(value.get("images"), dict):
        raise wrong("images: {height, width, channels} is missing")
    if value.get("reader") not in known:
        raise wrong(f"reader: {value.get('reader')} is none of {', '.join(known)}")
    sizes = [value["images"].get(key) for key in ("height", "width", "channels")]
    for key, number in zip(("height", "width", "channels", "classes"), (*sizes, value.get("classes")), strict=True):
        if not isinstance(number, int) or number < 1:
            raise wrong(f"{key}: {number} is no whole number of at least 1")
    if not isinstance(value.get("deviation"), int | float) or not value["deviation"] > 0:
        raise wrong(f"deviation: {value.get('deviation')} is no positive number")
    return Entry(
        name, value["reader"], bool(value.get("embedded")), (sizes[0], sizes[1], sizes[2]), value["classes"],
        float(value["deviation"]), tuple(value.get("files") or ()), value, _counts(value.get("counts"), wrong),
    )  # fmt: skip


def _counts(value: object, wrong: Callable[[str], ProgramError]) -> tuple[int, int] | None:
    if value is None:
        return None
    train, validation = (value.get(key) if isinstance(value, dict) else None for key in (TRAIN, VALIDATION))
    if not isinstance(train, int) or not isinstance(validation, int) or min(train, validation) < 1:
        raise wrong(f"counts: {value} are no whole numbers of at least 1, {TRAIN} and {VALIDATION}")
    return train, validation
