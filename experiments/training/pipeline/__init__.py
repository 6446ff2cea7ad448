"""`--strategy pipeline`: the model's layers are cut into stages on consecutive workers, and batches into micro-batches."""

from .plan import MEASURED, PIPELINE, Plan, planned

__all__ = ["MEASURED", "PIPELINE", "Plan", "planned"]
