"""Run kvstore-synchronised training at every cluster size and collect time and accuracy."""

__version__ = "0.2.0"
