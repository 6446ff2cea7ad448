"""The models: entries of two files in `experiments/data`, read, checked and measured. Pure; engines run them."""

from .architecture import Architecture, DenseLayer
from .catalogue import load, names
from .weights import Weights, digest

__all__ = ["Architecture", "DenseLayer", "Weights", "digest", "load", "names"]
