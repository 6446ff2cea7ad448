"""`--strategy pipeline`: the model's layers are cut into stages on consecutive workers, and batches into micro-batches."""

from .plan import PIPELINE, Plan, planned

__all__ = ["PIPELINE", "Plan", "planned"]
