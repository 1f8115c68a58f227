"""Lists of transforms as one transform, and one draw for each image."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._affine import RandomRotate, RandomScale, resample_once
from jaxlens.optvis.transform._anneal import at
from jaxlens.optvis.transform._base import Transform, check_call
from jaxlens.optvis.transform._types import AnyTransform, Transforms


@pytree
class FromFunction:
    """A user's `(key, images) -> images` as a pytree; the function is part of the structure."""

    function: Callable[..., Any] = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Call the function."""
        return self.function(key, images)


@pytree
class Compose:
    """See `compose`."""

    stages: tuple[Transform, ...]

    def at(self, number: int | Array) -> "Compose":
        """Return the transform of step `number` of a render (see `anneal`)."""
        return Compose(stages=tuple(at(stage, number) for stage in self.stages))

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Apply the stages in order; stage i draws from `fold_in(key, i)`."""
        images = check_call(images, "compose")
        numbered = enumerate(self.stages)
        for _, group in itertools.groupby(numbered, key=_same_resample):
            places, stages = zip(*group, strict=True)
            keys = [jax.random.fold_in(key, place) for place in places]
            if isinstance(stages[0], RandomScale | RandomRotate):
                images = resample_once(stages, keys, images)
            else:
                images = stages[0](keys[0], images)
        return images


@pytree
class PerImage:
    """See `per_image`."""

    inner: Transform

    def at(self, number: int | Array) -> "PerImage":
        """Return the transform of step `number` of a render."""
        return PerImage(inner=at(self.inner, number))

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Apply the inner transform to each image, with `fold_in(key, its position)`."""
        images = check_call(images, "per_image")
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images), dtype=jnp.uint32))
        return jax.vmap(lambda key, image: self.inner(key, image[None])[0])(keys, images)


def compose(transforms: Transforms) -> Compose:
    """One transform that applies several in order.

    Scales and rotations that follow each other directly, with the same `fill`, are drawn as
    listed but carried out as one interpolation. This is faster and sharper, and a rotation can
    bring back the part that an enlargement pushed off the canvas. The draws depend only on the
    position in the list.

    Args:
        transforms: transforms of this module, or any `(key, images) -> images` that keeps the
            rules of `Transform`. A plain function counts by identity: a function that is written
            anew for every call is compiled anew for every call.

    Raises:
        TypeError: if a member is not such a function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> robust = transform.compose([transform.pad(4), transform.jitter(8)])
        >>> robust(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 24, 32, 3)
    """
    if callable(transforms) or not isinstance(transforms, Sequence):
        raise TypeError(f"transforms={transforms!r} must be a list of transforms; a single one goes in a list: [transform].")
    return Compose(stages=tuple(_as_stage(stage, f"transforms[{i}]") for i, stage in enumerate(transforms)))


def per_image(transform: AnyTransform) -> PerImage:
    """Draw anew for each image of a call; a transform by itself shares one draw between them.

    Args:
        transform: any transform.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> pair = jnp.stack([jnp.arange(64.0).reshape(8, 8, 1)] * 2)  # the same image twice
        >>> moved = transform.per_image(transform.jitter(6))(jax.random.key(0), pair)
        >>> moved.shape, bool((moved[0] == moved[1]).all())
        ((2, 2, 2, 1), False)
    """
    return PerImage(inner=_as_stage(transform, "transform"))


def identity(key: PRNGKeyArray, images: Array) -> Array:
    """Return the images unchanged: a transform itself, as in `[transform.identity]`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> images = jnp.ones((1, 24, 32, 3))
        >>> transform.identity(jax.random.key(0), images) is images
        True
    """
    return images


def _same_resample(numbered: tuple[int, Any]) -> tuple[bool, Any]:
    """Return a group key: equal for neighbors that one interpolation can serve, else different."""
    place, stage = numbered
    resamples = isinstance(stage, RandomScale | RandomRotate)
    return resamples, stage.fill if resamples else place


def _as_stage(stage: Any, name: str) -> Transform:
    """Return a transform as a pytree, or raise if it cannot be called with a key and images."""
    if not callable(stage) or isinstance(stage, type):
        raise TypeError(f"{name}={stage!r} is not a transform: a function (key, images) -> images is needed.")
    try:
        signature = inspect.signature(stage)
    except (TypeError, ValueError):  # some callables written in C have none
        signature = None
    if signature is not None:
        try:
            signature.bind("key", "images")
        except TypeError as error:
            raise TypeError(
                f"{name}={stage!r} takes {signature}, but a transform takes (key, images). Wrap a function "
                "of images alone as `lambda key, images: function(images)`, and call factories: transform.jitter(8)."
            ) from error
    return FromFunction(function=stage) if jax.tree_util.all_leaves([stage]) else cast(Transform, stage)
