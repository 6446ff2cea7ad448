"""What a worker needs of its node's memory, estimated before anything starts: from the buffers that there are at its peak."""

from .demand import Demand, check, in_pieces
from .shares import validation_batch
from .system import give_back

__all__ = ["Demand", "check", "give_back", "in_pieces", "validation_batch"]
