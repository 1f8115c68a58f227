"""What the network makes of the image through an attribution's mask: drop, increase and gain."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import is_known
from jaxlens._numerics import ratio
from jaxlens._types import Images
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._maps import normalize
from jaxlens.attribution._types import BaselineLike, TargetLike, ValuesLike
from jaxlens.attribution.metrics._inputs import map_of, metric_query
from jaxlens.attribution.perturbation._masked import blend
from jaxlens.model import Model


@entry
def average_drop(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    batch_size: int | None = None,
) -> Float[Array, " b"]:
    """Return `max(b - a, 0) / b`: the share of the probability that the masked image loses.

    b is the probability of the image, a that of `m x + (1 - m) x'`; low is good (Chattopadhay et
    al. 2018, arXiv:1710.11063). The mask m is the absolute value of the attribution, scaled within
    the image to [0, 1]. The paper's Average Drop % is 100 times the mean.

    Args:
        model, images, baseline, batch_size: see `jaxlens.attribution`.
        values: an `Attribution` or its array `[B, h, w, C]`. Channels are summed, maps of another
            size resized bilinearly, then absolute values taken. Apply `attribution.relu` first to
            keep only what speaks for the class.
        target: a class, whose probability is used, or an objective in [0, 1].

    Returns: `[B]`; 0 where b is 0.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> heat = attribution.relu(attribution.grad_cam(model, images).values)
        >>> attribution.metrics.average_drop(model, images, heat).shape
        (2,)
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return ratio(jnp.maximum(before - after, 0), before)


@entry
def increase_in_confidence(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    batch_size: int | None = None,
) -> Float[Array, " b"]:
    """Return 1 where the masked image has a higher probability than the image, else 0.

    High is good (Chattopadhay et al. 2018, arXiv:1710.11063). The mean is the share of images.

    Args: as `average_drop`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> heat = attribution.relu(attribution.grad_cam(model, images).values)
        >>> attribution.metrics.increase_in_confidence(model, images, heat).shape
        (2,)
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return jnp.where(jnp.isnan(before + after), jnp.nan, after > before).astype(before.dtype)


@entry
def average_gain(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    batch_size: int | None = None,
) -> Float[Array, " b"]:
    """Return `max(a - b, 0) / (1 - b)`: the share of the possible gain that the masked image gains.

    a and b are those of `average_drop`; high is good (Zhang et al. 2023, arXiv:2301.07002).

    Args: as `average_drop`.

    Returns: `[B]`; 0 where b is 1.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> heat = attribution.relu(attribution.grad_cam(model, images).values)
        >>> attribution.metrics.average_gain(model, images, heat).shape
        (2,)
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return ratio(jnp.maximum(after - before, 0), 1 - before)


def _scores(
    model: Model, images: Images, values: Any, target: Any, baseline: Any, batch_size: int | None
) -> tuple[jax.Array, jax.Array]:
    """Return the scores of the images, and through their masks."""
    query = metric_query(model, images, target, "probability", baseline)
    mask = normalize(jnp.abs(map_of(values, query)))[..., None]
    before, after = scores_of(query, query.values, batch_size), scores_of(query, blend(query, mask), batch_size)
    for scores in (before, after):
        if is_known(scores) and not ((scores >= 0) & (scores <= 1 + 1e-5)).all():
            worst = float(np.asarray(scores)[np.argmax(np.abs(np.asarray(scores) - 0.5))])
            raise ValueError(f"target has the score {worst:.4g}, but a probability is needed: pass a class.")
    return before, after
