"""From raw attributions to maps, one named step at a time; no step is done unasked."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_size, check_choice, check_flag, is_known
from jaxlens._numerics import ratio
from jaxlens.attribution._entry import entry
from jaxlens.attribution._types import FloatsLike

Reduction = Literal["sum", "mean", "abs_sum", "abs_max", "norm"]
REDUCTIONS: dict[str, Any] = {
    "sum": lambda v: v.sum(-1, keepdims=True),
    "mean": lambda v: v.mean(-1, keepdims=True),
    "abs_sum": lambda v: jnp.abs(v).sum(-1, keepdims=True),
    "abs_max": lambda v: jnp.abs(v).max(-1, keepdims=True),
    "norm": lambda v: jnp.linalg.norm(v, axis=-1, keepdims=True),
}


def check_maps(values: Any, axes: str = "[B, ...]", rank: int | None = None, name: str = "values") -> jax.Array:
    """Return attributions of images as an array of floats; refuse NaN where values are known."""
    if hasattr(values, "values") and hasattr(values, "scores"):
        raise TypeError(f"{name}={values!r} must be its array: found.values.")
    if not isinstance(values, jax.Array | np.ndarray) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} must be an array of floats {axes}, but got {type(values).__name__}.")
    if values.ndim != rank if rank else values.ndim < 1:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, but {axes} is needed.")
    if 0 in values.shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}: it is empty.")
    if is_known(values):
        finite = np.asarray(jnp.isfinite(values).all(tuple(range(1, values.ndim))))
        if not finite.all():
            which = ", ".join(map(str, np.flatnonzero(~finite)))
            raise ValueError(f"{name} holds NaN or infinite numbers, for image(s) {which} of {len(values)}.")
    return jnp.asarray(values)


def channels_first(shape: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Return whether maps of this shape look like `[C, h, w]` for an image of that size."""

    def off(height: int, width: int) -> float:
        stretch = (height / size[0]) / (width / size[1])
        return max(stretch, 1 / stretch)

    if shape[1:] == size != shape[:2]:
        return True
    return off(*shape[:2]) > 4 and off(*shape[1:]) < 2


def check_channels_last(values: Any, size: tuple[int, int], name: str = "values") -> None:
    """Refuse maps `[B, C, h, w]` (PyTorch's libraries) for images of this size."""
    shape = tuple(values.shape)
    if len(shape) == 4 and channels_first(shape[1:], tuple(size)):
        raise ValueError(
            f"{name} has shape {shape}, but maps [B, h, w, C] of images of {size[0]}x{size[1]} are needed. It looks "
            f"channels-first: use np.moveaxis({name}, -3, -1)."
        )


def relu(values: FloatsLike) -> Float[Array, "*axes"]:
    """Keep only what speaks for the target: `max(values, 0)`.

    Args:
        values: an array of attributions, of any shape.

    Example:
        >>> import numpy as np
        >>> from jaxlens import attribution
        >>> attribution.relu(np.float32([[-2.0, 0.5, 3.0]])).tolist()
        [[0.0, 0.5, 3.0]]
    """
    return jnp.maximum(check_maps(values), 0)


def sum_channels(values: FloatsLike, how: Reduction = "sum") -> Float[Array, "b *axes 1"]:
    """Reduce channels to one number per position, `[B, ..., 1]`.

    Args:
        values: an array of attributions `[B, ..., C]`.
        how: the "sum" over channels (captum; keeps completeness), their "mean" (xplique), the sum
            of absolute values, "abs_sum", the largest of them, "abs_max" (Simonyan et al. 2014), or
            the Euclidean "norm".

    Example:
        >>> import numpy as np
        >>> from jaxlens import attribution
        >>> values = np.float32([[[1.0, -2.0, 3.0], [0.0, 4.0, -4.0]]])
        >>> attribution.sum_channels(values).tolist()
        [[[2.0], [0.0]]]
        >>> attribution.sum_channels(values, "abs_max").tolist()
        [[[3.0], [4.0]]]
    """
    check_choice(how, "how", REDUCTIONS)
    return REDUCTIONS[how](check_maps(values))


def normalize(values: FloatsLike, *, signed: bool = False) -> Float[Array, "b *axes"]:
    """Scale each image's values to [0, 1], `(v - min) / (max - min)`, or to [-1, 1] with 0 kept.

    Constant values become 0. NaN is refused outside `jit` and stays NaN inside. Afterwards
    magnitudes cannot be compared between images, which is why no method does this by itself.

    Args:
        values: an array of attributions `[B, ...]`.
        signed: return `v / max |v|`, in [-1, 1], where 0 stays 0.

    Example:
        >>> import numpy as np
        >>> from jaxlens import attribution
        >>> attribution.normalize(np.float32([[-1.0, 0.0, 3.0]])).tolist()
        [[0.0, 0.25, 1.0]]
        >>> attribution.normalize(np.float32([[-1.0, 0.0, 4.0]]), signed=True).tolist()
        [[-0.25, 0.0, 1.0]]
    """
    values, signed = check_maps(values), check_flag(signed, "signed")
    axes = tuple(range(1, values.ndim))
    low = jnp.zeros_like(values.min(axes, keepdims=True)) if signed else values.min(axes, keepdims=True)
    span = jnp.abs(values - low).max(axes, keepdims=True)
    return ratio(values - low, span)


@entry
def resize(
    values: FloatsLike, size: tuple[int, int], method: Literal["bilinear", "nearest", "cubic"] = "bilinear"
) -> Float[Array, "b h2 w2 c"]:
    """Resize maps to another (height, width), usually the image's.

    Args:
        values: an array of maps `[B, h, w, C]`.
        size: (height, width).
        method: "bilinear" and "cubic" place pixel centers as PyTorch's `align_corners=False` does,
            and antialias where maps get smaller. "nearest" repeats rows and columns as PyTorch's
            does, which is the default of captum's `LayerAttribution.interpolate`.

    Example:
        >>> import jax
        >>> from jaxlens import attribution
        >>> maps = jax.random.normal(jax.random.key(0), (2, 6, 8, 1))
        >>> attribution.resize(maps, (24, 32)).shape
        (2, 24, 32, 1)
    """
    check_choice(method, "method", ("bilinear", "nearest", "cubic"))
    values, size = check_maps(values, "[B, h, w, C]", 4), as_size(size)
    check_channels_last(values, size)
    if method == "nearest":  # jax.image rounds centers, unlike PyTorch where sizes do not divide
        rows, columns = (jnp.arange(new) * old // new for new, old in zip(size, values.shape[1:3], strict=True))
        return values[:, rows][:, :, columns]
    return jax.image.resize(values, (values.shape[0], *size, values.shape[3]), method)
