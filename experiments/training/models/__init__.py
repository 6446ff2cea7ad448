"""The models: entries of `experiments/data/models.yaml`, read, checked and measured. Pure; engines run them."""

from .architecture import Architecture, DenseLayer
from .catalogue import load, names
from .weights import Weights, digest, digest_of

__all__ = ["Architecture", "DenseLayer", "Weights", "digest", "digest_of", "load", "names"]
