"""The role of a transform, and the checks that every transform makes when it is called."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray


@runtime_checkable
class Transform(Protocol):
    """A random, pure, differentiable map of images.

    Any function `(key, images) -> images` is one if it keeps these rules:

    - The same key gives the same result.
    - The shape of the output follows from that of the input alone, whatever is drawn, so that one
      compiled program serves every draw.
    - The B images of a call share one draw. They belong to one task, and objectives that compare
      them (diversity, caricature) need them moved together. `per_image` draws for each image;
      across tasks, callers use `jax.vmap`.
    - The dtype stays.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> def darken(key, images):
        ...     factor = jax.random.uniform(key, minval=0.5, maxval=1, dtype=images.dtype)
        ...     return factor * images
        >>> both = transform.compose([transform.jitter(4), darken])
        >>> both(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 20, 28, 3)
    """

    def __call__(self, key: PRNGKeyArray, images: jax.Array, /) -> jax.Array:
        """Map floats `[B, H, W, C]` to floats `[B, H2, W2, C]`."""
        ...


LARGEST = 1e30  # pixels are float32


def check_call(images: Any, transform: str) -> jax.Array:
    """Return the images of a call as an array, or raise if they are not floats `[B, H, W, C]`."""
    images = jnp.asarray(images)
    if images.ndim != 4:
        hint = " Add the batch axis: images[None]." if images.ndim == 3 else ""
        raise ValueError(f"{transform} got images of shape {images.shape}, but [B, H, W, C] is needed.{hint}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{transform} got images of dtype {images.dtype}, but floats in [0, 1] are needed. "
            "Convert: images.astype('float32') / 255."
        )
    return images


def check_finite(values: Any, name: str, count: int | None = None) -> tuple[float, ...]:
    """Return a non-empty sequence of finite numbers, `count` if given, as floats, or raise."""
    try:
        numbers = np.asarray(values)
        if numbers.dtype.kind not in "iuf":
            raise TypeError(numbers.dtype)
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={values!r} must be a list of numbers, or transform.uniform(low, high).") from error
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"{name}={values!r} must be a non-empty list of numbers, or transform.uniform(low, high).")
    if not (np.abs(numbers) < LARGEST).all():
        raise ValueError(f"{name}={values!r} must be finite numbers.")
    if count is not None and len(numbers) != count:
        raise ValueError(f"{name}={values!r} must be {count} numbers.")
    return tuple(numbers.tolist())


def check_grey(value: Any, name: str) -> float:
    """Return a finite number as a float, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not abs(value) < LARGEST:
        raise ValueError(f"{name}={value!r} must be a finite number; 0.5 is mid-grey, 0 black and 1 white.")
    return float(value)
