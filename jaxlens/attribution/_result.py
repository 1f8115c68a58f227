"""What every attribution returns."""

import dataclasses
from typing import Any

from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree


@pytree
class Attribution:
    """Raw, signed attributions of a batch of images, and what they add up to.

    A pytree: it passes through `jax.jit` and `jax.vmap`. Nothing is rectified, normalized, resized
    or summed over channels. `attribution.relu`, `normalize`, `resize` and `sum_channels` do that to
    `values`; `plot.attributions` makes a figure.

    Attributes:
        values: float, `[B, ...]` with the axes of the layer attributed to: `[B, H, W, C]` for the
            image and for maps, `[B, T, C]` for tokens, `[B, C]` for vectors. Methods that give one
            number per position have C = 1.
        scores: `[B]`, the target's score of each image.
        delta: `[B]`, what completeness lacks: `sum(values) - (score(image) - score(baseline))`.
            None where the method promises no sum. Where features are groups of values, the sum
            counts each group once, and `values` repeat its number.
        baseline_scores: `[B]`, the score of the baseline, where there is one.
        method: the name of the function.
        layer: what was attributed to: "input", or a layer of the model.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.saliency(model, images, 3)
        >>> found
        Attribution('saliency', values (2, 24, 32, 3), layer='input')
        >>> found.replace(values=attribution.sum_channels(found.values)).values.shape
        (2, 24, 32, 1)
    """

    values: Float[Array, "b *axes"]
    scores: Float[Array, " b"]
    delta: Float[Array, " b"] | None = None
    baseline_scores: Float[Array, " b"] | None = None
    method: str = field(static=True)
    layer: str = field(static=True, default="input")

    def replace(self, **changes: Any) -> "Attribution":
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        return f"Attribution({self.method!r}, values {tuple(getattr(self.values, 'shape', ()))}, layer={self.layer!r})"
