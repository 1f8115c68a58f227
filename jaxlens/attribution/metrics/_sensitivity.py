"""How much an explanation changes when the image hardly does."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_function, check_number
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import accumulate, check_samples
from jaxlens.attribution._draws import drawn
from jaxlens.attribution._entry import entry
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.metrics._inputs import attributed
from jaxlens.model import Model

Method = Callable[..., Attribution]


@entry
def sensitivity_max(
    method: Method,
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Float[Array, " b"]:
    """Return the largest relative change of an attribution near the image.

    `max over d of |phi(x + d) - phi(x)| / |phi(x)|`, with Euclidean norms (Yeh et al. 2019,
    arXiv:1901.09392).

    Args:
        method: such as `attribution.saliency`.
        model, images: see `jaxlens.attribution`.
        target: as the method takes it; None is the top class of the image itself, also for its
            neighbors.
        radius: each value of d is uniform in [-radius, radius], in units of images in [0, 1].
            captum: 0.02.
        samples: neighbors per image, the same d for all. captum: 10.
        seed: an int or a JAX key for d. A method that draws keeps its default seed, and so its
            draws.
        batch_size: neighbors at a time; the method gets it too.
        progress: show a bar when it takes longer than two seconds.
        **options: the method's own, `layer` and `baseline` among them.

    Returns: `[B]`; 0 is best. Where phi(x) is 0 it is the difference itself, as in captum. Unlike
        captum's, neighbors are images: clipped to [0, 1].

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> change = attribution.metrics.sensitivity_max
        >>> change(attribution.saliency, model, images, samples=2).shape
        (2,)
    """
    return _changes(method, model, images, target, radius, samples, seed, batch_size, progress, options)[1]


@entry
def stability(
    method: Method,
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    radius: float = 0.1,
    samples: int = 20,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Float[Array, " b"]:
    """Return the average sensitivity: the mean change of an attribution near the image.

    `mean over d of |phi(x + d) - phi(x)|` (Bhatt et al. 2020, arXiv:2005.00631), not relative.

    Args and returns: as `sensitivity_max`; radius 0.1 and 20 samples as in xplique's
    AverageStability.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> change = attribution.metrics.stability
        >>> change(attribution.saliency, model, images, samples=2).shape
        (2,)
    """
    return _changes(method, model, images, target, radius, samples, seed, batch_size, progress, options)[0] / samples


def _changes(
    method: Method,
    model: Model,
    images: Images,
    target: Any,
    radius: float,
    samples: int,
    seed: Seed,
    batch_size: int | None,
    progress: bool,
    options: dict[str, Any],
) -> jax.Array:
    """Return `[2, B]`: the sum of the changes, and the largest as a share of the clean norm."""
    check_function(method, "method", "attribution.saliency")
    radius = check_number(radius, "radius", above=0, high=1)
    samples, key = check_samples(samples), as_key(seed)
    query = ask(model, images, target, layer=options.get("layer"))
    if batch_size is not None:
        options = options | {"batch_size": batch_size}
    clean = attributed(method, model, query.images, query.target, options)
    state = jnp.zeros((2, query.count), clean.dtype)

    def step(
        some: Query, clean: jax.Array, image: jax.Array, number: jax.Array, alive: jax.Array, state: jax.Array
    ) -> jax.Array:
        near = _neighbours(some.images, key, number, radius)
        found = attributed(method, model, near, some.target, _for_images(options, query, image))
        return _farther(state, clean, found, image, alive)

    return accumulate(
        step, query, clean, state, samples, batch_size=batch_size, progress=progress, label="neighbours", compiled=False
    )


@jax.jit
def _neighbours(images: Float[Array, "n h w c"], key: Any, number: jax.Array, radius: Any) -> Float[Array, "n h w c"]:
    """Return neighbor number `number` of each image."""
    uniform = functools.partial(jax.random.uniform, minval=-1, maxval=1)
    near = images + radius * drawn(key, number, images.shape[1:], draw=uniform).astype(images.dtype)
    return jnp.clip(near, 0, 1)


@jax.jit
def _farther(
    state: Float[Array, "2 b"], clean: Float[Array, "b *axes"], found: Float[Array, "n *axes"], image: Any, alive: Any
) -> Float[Array, "2 b"]:
    distance = jnp.where(alive, _norm(found - clean[image]), 0)
    norms = _norm(clean[image])
    return state.at[0, image].add(distance).at[1, image].max(distance / jnp.where(norms == 0, 1, norms))


def _norm(values: jax.Array) -> jax.Array:
    return jnp.linalg.norm(values.reshape(values.shape[0], -1), axis=1)


def _for_images(options: dict[str, Any], query: Query, image: jax.Array) -> dict[str, Any]:
    """Return the options for some of the images: a baseline per image goes with them."""
    given: Any = options.get("baseline")
    if np.ndim(given) in (4, query.values.ndim) and np.shape(given)[0] == query.count > 1:
        return options | {"baseline": jnp.asarray(given)[image]}
    return options
