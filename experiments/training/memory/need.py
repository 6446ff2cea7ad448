"""What a worker needs: values, gradients and what is kept beside them, images, and what the layers make of these. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..datasets.augmentation import scratch
from ..estimates.traffic import factored
from ..models import Architecture
from ..models.architecture import PlacedLayer, clipped_of, outputs_of
from ..options import Options
from ..pipeline import Plan as Pipeline
from ..sharding import Groups
from ..split.parts import Plan
from ..towers import costs
from .kept import Kept, of_steps, of_store, of_sums
from .shares import MEGABYTE, share_of, validation_batch

_FLOAT = 4
_SYSTEM_BYTES = 64 * MEGABYTE
"""What a node's system needs itself."""


@dataclass(frozen=True)
class Need:
    """What a worker needs, in bytes."""

    fixed: int
    """Whatever the batch."""
    an_image: int
    """For each image that is computed at once."""
    start: int = 0
    """While the model is built, before anything else is there."""

    def of(self, images: int) -> int:
        """For so many images computed at once."""
        return max(self.start, self.fixed + self.an_image * images)

    def most(self, memory: int) -> int:
        """How many images may be computed at once; 0 where not even one fits."""
        left = memory - _SYSTEM_BYTES
        return 0 if left < self.start else max(0, (left - self.fixed) // self.an_image)


@dataclass(frozen=True)
class Asked:
    """A model, the images of a data set as they are kept, and what is chosen, for so many workers."""

    architecture: Architecture
    image_bytes: int
    chosen: Options
    workers: int

    def whole(self) -> Need:
        """Of a worker that has the whole model."""
        layers = factored(self.architecture, self.chosen, self.workers)
        values = self.architecture.parameters()
        kept = of_store(values, self.chosen, self.workers, layers)
        computed = [(layer, 1.0) for layer in self.architecture.placed]
        return self._need(values, values, kept + self._added(self.architecture.sizes()), computed)

    def at_place(self, plan: Plan, groups: Groups, place: int, *, from_images: bool) -> Need:
        """Of a worker that computes some outputs of some layers for all its group's images: one of each.

        It has values and gradients of these and of what all have; between epochs, whole, all that others have; and before and
        behind such layers what is handed over, and its gradient.
        """
        sizes = {array.name: array.size for array in self.architecture.arrays}
        summed = [sum(sizes[name] for name in names) for names in plan.summed]
        slices = [own.units * own.layer.size // own.layer.units for own in plan.slices.values()]
        kept = of_sums(sum(summed[: plan.common]), self.workers, self.chosen)
        kept += of_sums(sum(summed[plan.common :]), groups.count, self.chosen)
        kept = sum((of_steps(size, self.chosen) for size in slices), kept)
        others = {name for other, held in enumerate(plan.held(groups.size)) if other != place for name, _ in held}
        kept += Kept(between=sum(sizes[name] for name in others))
        kept += self._added([*(sizes[name] for names in plan.summed for name in names), *slices])
        walked = groups.size if from_images else 1
        computed, handed = costs.computed(plan, groups.size), costs.handed_values(plan)
        own = sum(summed) + sum(slices)
        return self._need(own, own, kept, computed, handed=handed, walked=walked)

    def at_stage(self, plan: Pipeline, stage: int) -> Need:
        """Of a worker of a pipeline: gradients and outputs of its own layers alone, but the values of all, since it validates
        with the whole model; for each image under way, what comes from other stages, and the gradient that goes back."""
        placed = plan.layers[stage]
        arrays = [array.size for layer in placed for array in layer.arrays()]
        own = sum(arrays)
        handed = 2 * math.prod(placed[0].before) if stage else 0
        handed += math.prod(placed[-1].after) if stage < plan.stages - 1 else 0
        kept = of_sums(own, plan.replicas, self.chosen) + self._added(arrays, in_pieces=True)
        return self._need(
            self.architecture.parameters(),
            own,
            kept,
            [(layer, 1.0) for layer in placed],
            handed=handed,
            walked=plan.stages,
        )

    def _added(self, arrays: Sequence[int], *, in_pieces: bool = False) -> Kept:
        """What the gradient of the largest array takes, where it is added to what there is."""
        adds = in_pieces or self.chosen.accumulate > 1 or share_of(self.chosen.engine).adds
        return Kept(max(arrays) if adds else 0)

    def _need(
        self,
        values: int,
        gradients: int,
        kept: Kept,
        computed: Sequence[tuple[PlacedLayer, float]],
        *,
        handed: float = 0.0,
        walked: int = 1,
    ) -> Need:
        """With so many values and gradients, what is kept beside these, and layers that are each computed so often.

        A worker walks the images of `walked` workers' shares. While it starts, there are all first values beside its own.
        """
        share, images = share_of(self.chosen.engine), self.image_bytes * walked / self.workers
        kept += Kept(between=images * scratch(self.chosen.augmentation, self.architecture.side) / _FLOAT)
        start = share.loaded + self.image_bytes + (self.architecture.parameters() + values) * _FLOAT
        trained = values + gradients + kept.most
        if self.chosen.validation:
            trained += share.validated * max(self.architecture.outputs()) * validation_batch(self.architecture)
        outputs = [times * made for layer, times in computed for made in outputs_of([layer])]
        clipped = sum(times * clipped_of([layer]) for layer, times in computed)
        an_image = share.outputs * sum(outputs) + share.clipped * clipped + share.largest * max(outputs) + handed
        fixed = share.base + self.image_bytes + images + trained * _FLOAT
        return Need(round(fixed), round(an_image * _FLOAT), round(start))
