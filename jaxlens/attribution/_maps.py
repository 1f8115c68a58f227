"""From raw attributions to maps: each step by its name, none done unasked."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Reduction = Literal["sum", "mean", "abs_sum", "abs_max", "norm"]
REDUCTIONS: dict[str, Any] = {
    "sum": lambda v: v.sum(-1, keepdims=True),
    "mean": lambda v: v.mean(-1, keepdims=True),
    "abs_sum": lambda v: jnp.abs(v).sum(-1, keepdims=True),
    "abs_max": lambda v: jnp.abs(v).max(-1, keepdims=True),
    "norm": lambda v: jnp.linalg.norm(v, axis=-1, keepdims=True),
}


def relu(values: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """Only what speaks for the target: `max(values, 0)`."""
    return jnp.maximum(values, 0)


def sum_channels(values: Float[Array, "b *axes c"], how: Reduction = "sum") -> Float[Array, "b *axes 1"]:
    """One number per position: the "sum" over channels (captum, keeps completeness), their "mean" (xplique), the sum
    ("abs_sum") or the largest ("abs_max"; Simonyan et al. 2014) of the absolute values, or their Euclidean "norm"."""
    if how not in REDUCTIONS:
        raise ValueError(f"how={how!r} must be one of {', '.join(REDUCTIONS)}.")
    return REDUCTIONS[how](values)


def normalize(values: Float[Array, "b *axes"], *, signed: bool = False) -> Float[Array, "b *axes"]:
    """Each image's values in [0, 1], `(v - min) / (max - min)`; or in [-1, 1] with 0 kept, `v / max |v|`, if `signed`.

    Constant values become 0. Magnitudes can no longer be compared between images, which is why no method does this by itself.
    """
    axes = tuple(range(1, values.ndim))
    low = jnp.zeros_like(values.min(axes, keepdims=True)) if signed else values.min(axes, keepdims=True)
    span = jnp.abs(values - low).max(axes, keepdims=True)
    return jnp.where(span > 0, (values - low) / jnp.where(span > 0, span, 1), 0)


def resize(
    values: Float[Array, "b h w c"], size: tuple[int, int], method: Literal["bilinear", "nearest", "cubic"] = "bilinear"
) -> Float[Array, "b h2 w2 c"]:
    """Maps at another (height, width), usually the image's.

    "bilinear" and "cubic" take pixel centres as PyTorch's `align_corners=False` does; made smaller they are antialiased.
    "nearest" repeats rows and columns as PyTorch's does, which is what captum's `LayerAttribution.interpolate` does by default.
    """
    if method == "nearest":  # jax.image rounds centres, which differs from PyTorch where the sizes do not divide
        rows, columns = (jnp.arange(new) * old // new for new, old in zip(size, values.shape[1:3], strict=True))
        return values[:, rows][:, :, columns]
    if method not in ("bilinear", "cubic"):
        raise ValueError(f"method={method!r} must be bilinear, nearest or cubic.")
    return jax.image.resize(values, (values.shape[0], *size, values.shape[3]), method)
