"""The data sets: entries of `experiments/data/datasets.yaml`, and a reader for each form of files."""

from .catalogue import Entry, catalogue, load, named
from .dataset import Dataset, Form, Split

__all__ = ["Dataset", "Entry", "Form", "Split", "catalogue", "load", "named"]
