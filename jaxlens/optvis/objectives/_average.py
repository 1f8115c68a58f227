"""The style of many views: Gram matrices averaged over the steps of a render."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import MEMORY, STEP, Activations, Objective, Sum
from jaxlens.optvis.objectives._compare import check_channels
from jaxlens.optvis.objectives._difference import Difference, Loss, activation_difference, gram, mean_L1
from jaxlens.optvis.objectives._layer import maps
from jaxlens.optvis.objectives._values import numbers


@pytree
class AverageStyle(Objective):
    """See `style_ema`."""

    target: Float[Array, "h c c"] = field(rank=3)
    decay: Float[Array, ""] = field(rank=0)
    loss_f: Loss = field(static=True)
    layer: str = field(static=True)
    batch: int = field(static=True, default=0)

    def _grams(self, activations: Activations) -> tuple[Array, Array]:
        """The Gram matrix of this step and its moving average, `[1, C, C]`."""
        now = gram(maps(activations, self.layer, self.batch))
        before = activations[MEMORY].get(self._key, now)
        mean = self.decay * before + (1 - self.decay) * now
        return now, jax.lax.stop_gradient(jnp.where(activations[STEP] == 0, now, mean))

    @property
    def _key(self) -> str:
        return f"gram of {self.layer}, image {self.batch}"

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        now, mean = self._grams(activations)
        # the value of the average, and the gradient of this step
        return self.loss_f(now + jax.lax.stop_gradient(mean - now), self.target)

    def remember(self, activations: Activations) -> dict[str, Array]:
        return {self._key: self._grams(activations)[1]}

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_channels(self.target, shapes[self.layer], self.layer)

    def describe(self, task: int = 0) -> str:
        return f"style({self.layer})"


def style_ema(
    layers: Any,
    difference_to: Any,
    loss_f: Any = mean_L1,
    decay: Any = 0.95,
    batch: Any = 0,
) -> Objective:
    """The style loss of what all steps so far have seen, `sum_l loss_f(mean Gram matrix of A_l, Gram matrix of B_l)`.

    `mean = decay * mean + (1 - decay) * G` from step to step, from the first G on; the gradient is that of this step's G.
    For views that each show only part of a large image or texture (crops, `transform.random_boxes`), of which no single one
    has to have the whole style. Use a negative weight. Lucid's `StyleLoss(ema_decay=...)`.

    Args:
        layers: one name or several.
        difference_to: the style's activations by layer, `[h, w, C]` or `[1, h, w, C]`; `[N, h, w, C]` for a batch of tasks.
        loss_f: as in `activation_difference`.
        decay: in [0, 1); 0 is `style`. Lucid's notebook on 3D style transfer has 0.95.
        batch: which of the task's images is judged.
    """
    rate = numbers(decay, "decay", low=0, below=1)
    if not isinstance(difference_to, Mapping):
        raise TypeError(
            f"difference_to={difference_to!r} must be activations by layer: jaxlens.activations(model, image, layers)."
        )
    plain = activation_difference(layers, loss_f, gram, difference_to, batch)
    terms = plain.terms if isinstance(plain, Sum) else (plain,)
    parts: list[Objective] = [
        AverageStyle(target=term.target, decay=rate, loss_f=loss_f, layer=term.layer, batch=batch)
        for term in terms
        if isinstance(term, Difference) and term.target is not None
    ]
    return parts[0] if len(parts) == 1 else Objective.sum(parts)
