"""Lists of transforms, and what turns one transform into another."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._affine import RandomRotate, RandomScale, resample_once
from jaxlens.optvis.transform._anneal import at
from jaxlens.optvis.transform._base import check_call


@pytree
class FromFunction:
    """A user's `(key, images) -> images` as a pytree: the function is part of the structure."""

    function: Callable[..., Any] = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Calls the function."""
        return self.function(key, images)


@pytree
class Compose:
    """See `compose`."""

    stages: tuple[Any, ...]

    def at(self, number: Array) -> "Compose":
        """The same at a step of a render (`anneal`)."""
        return Compose(stages=tuple(at(stage, number) for stage in self.stages))

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Applies the stages in order; stage i draws from `fold_in(key, i)`."""
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

    inner: Any

    def at(self, number: Array) -> "PerImage":
        """The same at a step of a render."""
        return PerImage(inner=at(self.inner, number))

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Applies the inner transform to each image with `fold_in(key, its position)`."""
        images = check_call(images, "per_image")
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images), dtype=jnp.uint32))
        return jax.vmap(lambda key, image: self.inner(key, image[None])[0])(keys, images)


def compose(transforms: Any) -> Compose:
    """One transform that applies a list of them in order.

    Scales and rotations that follow each other directly, with the same `fill`, are drawn as listed but carried out as
    one interpolation: faster and sharper, and what an enlargement pushed off the canvas can turn back in. The
    draws depend on the position in the list only.

    Args:
        transforms: made by this module, or any `(key, images) -> images` that keeps to `Transform`. A plain function counts
            by identity: one that is written anew for every call is compiled anew for every call.

    Raises:
        TypeError: if a member is not such a function.
    """
    if callable(transforms) or not isinstance(transforms, Sequence):
        raise TypeError(f"transforms={transforms!r} must be a list of transforms; a single one goes in a list: [transform].")
    return Compose(stages=tuple(_as_stage(stage, f"transforms[{i}]") for i, stage in enumerate(transforms)))


def per_image(transform: Any) -> PerImage:
    """Draws for each image of a call, where a transform by itself shares one draw between them."""
    return PerImage(inner=_as_stage(transform, "transform"))


def identity(key: PRNGKeyArray, images: Array) -> Array:
    """The transform that does nothing; itself a transform, so `[transform.identity]` is a list of one."""
    return images


def _same_resample(numbered: tuple[int, Any]) -> tuple[bool, Any]:
    """Equal for neighbours that one interpolation can serve, different for all others."""
    place, stage = numbered
    resamples = isinstance(stage, RandomScale | RandomRotate)
    return resamples, stage.fill if resamples else place


def _as_stage(stage: Any, name: str) -> Any:
    """A transform as a pytree, or an error if it cannot be called with a key and images."""
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
    return FromFunction(function=stage) if jax.tree_util.all_leaves([stage]) else stage
