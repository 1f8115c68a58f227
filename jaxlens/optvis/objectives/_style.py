"""Style: Gram matrices of one picture, or averaged over all views of a render."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_reals
from jaxlens._pytree import field, pytree
from jaxlens._types import Whole
from jaxlens.optvis.objectives._activations import maps
from jaxlens.optvis.objectives._base import MEMORY, STEP, Activations, Objective, Sum
from jaxlens.optvis.objectives._compare import check_channels
from jaxlens.optvis.objectives._difference import Difference, activation_difference, mean_L1
from jaxlens.optvis.objectives._types import Layers, Loss, Numbers, Target, Values
from jaxlens.optvis.objectives._values import Leaf, numbers


def gram(a: Values) -> Float[Array, "b c c"]:
    """Gram matrices over positions, `A^T A / (h w)`: which channels are active together, wherever.

    From Gatys et al. 2015.

    Args:
        a: activations `[B, h, w, C]`.

    Returns: `[B, C, C]`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> a = jnp.zeros((1, 2, 2, 2)).at[..., 0].set(3.0)  # channel 0 alone is active
        >>> objectives.gram(a)[0].tolist()
        [[9.0, 0.0], [0.0, 0.0]]
    """
    x = check_reals(a, "a")
    if x.ndim != 4 or x.size == 0:
        raise ValueError(f"a has shape {x.shape}, but activations [B, h, w, C] are needed.")
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    return jnp.einsum("bpc,bpd->bcd", flat, flat, precision="highest") / flat.shape[1]


def style(layers: Layers, difference_to: Target = 2, loss_f: Loss = mean_L1) -> Objective:
    """The style loss: distance between two images' Gram matrices; use a negative weight.

    Args:
        layers, difference_to, loss_f: as in `activation_difference`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> painting = {"mixed3a": jnp.ones((9, 9, 8))}  # of any size
        >>> loss = objectives.style("mixed3a", painting)
        >>> float(loss({"mixed3a": jnp.ones((1, 4, 4, 8))}))
        0.0
    """
    return activation_difference(layers, loss_f, gram, difference_to)


@pytree
class AverageStyle(Objective):
    """The style loss of a moving average of Gram matrices; see `style_ema`."""

    target: Float[Leaf, "h c c"] = field(rank=3)
    decay: Float[Leaf, ""] = field(rank=0)
    loss_f: Callable[..., Any] = field(static=True)
    layer: str = field(role="layer")
    batch: int = field(role="image", default=0)

    def _grams(self, activations: Activations) -> tuple[Array, Array]:
        """Return the Gram matrix of this step and its moving average, `[1, C, C]`."""
        now = gram(maps(activations, self.layer, self.batch))
        before = activations[MEMORY].get(self._key, now)
        decay = jnp.asarray(self.decay)
        mean = decay * before + (1 - decay) * now
        return now, jax.lax.stop_gradient(jnp.where(activations[STEP] == 0, now, mean))

    @property
    def _key(self) -> str:
        return f"gram of {self.layer}, image {self.batch}"

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        now, mean = self._grams(activations)
        # The value of the average, and the gradient of this step.
        return self.loss_f(now + jax.lax.stop_gradient(mean - now), jnp.asarray(self.target))

    def remember(self, activations: Activations) -> dict[str, Array]:
        return {self._key: self._grams(activations)[1]}

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_channels(self.target, shapes[self.layer], self.layer)

    def describe(self, task: int = 0) -> str:
        return f"style({self.layer})"


def style_ema(
    layers: Layers,
    difference_to: Mapping[str, Values],
    loss_f: Loss = mean_L1,
    decay: Numbers = 0.95,
    batch: Whole = 0,
) -> Objective:
    """The style loss of all views so far; use a negative weight.

    `sum_l loss_f(mean Gram matrix of A_l, Gram matrix of B_l)`, with
    `mean = decay * mean + (1 - decay) * G` from step to step, from the first G on. The gradient is
    that of this step's G. For views that each show only a part of a large image or texture (crops,
    `transform.random_boxes`), so that no single view has to have the whole style. Lucid's
    `StyleLoss(ema_decay=...)`.

    Args:
        layers: one name or several.
        difference_to: activations of the style by layer, `[h, w, C]` or `[1, h, w, C]`;
            `[N, h, w, C]` for a batch of tasks.
        loss_f: as in `activation_difference`.
        decay: in [0, 1); 0 is `style`. The default is that of Lucid's notebook on 3D style
            transfer.
        batch: which of the task's images is judged.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> painting = {"mixed3a": jnp.ones((9, 9, 8))}
        >>> objective = -1e2 * objectives.style_ema("mixed3a", painting, decay=0.9)
        >>> objective.describe()
        '-100*style(mixed3a)'
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
