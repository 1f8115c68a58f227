"""What the network makes of the image through an attribution's mask: average drop, increase and gain."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxlens._types import Images
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._maps import normalize
from jaxlens.attribution.metrics._inputs import map_of, metric_query, ratio
from jaxlens.attribution.perturbation._masked import blend
from jaxlens.model import Model


@entry
def average_drop(
    model: Model, images: Images, values: Any, target: Any = None, *, baseline: Any = None, batch_size: int | None = None
) -> Float[Array, " b"]:
    """`max(b - a, 0) / b` for the probabilities b of the image and a of `m x + (1 - m) x'`; low is good (Chattopadhay et al.
    2018, arXiv:1710.11063).

    The mask m is the absolute value of the attribution, scaled to [0, 1] within the image. The paper's Average Drop % is
    100 times the mean.

    Args:
        model, images, baseline, batch_size: see `jaxlens.attribution`.
        values: an `Attribution` or its array `[B, h, w, C]`: channels are summed and maps of another size resized bilinearly,
            then absolute values taken. `attribution.relu` first for what speaks for the class only.
        target: a class, of which this sees the probability, or an objective in [0, 1].

    Returns: `[B]`; 0 where b is 0.
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return ratio(jnp.maximum(before - after, 0), before)


@entry
def increase_in_confidence(
    model: Model, images: Images, values: Any, target: Any = None, *, baseline: Any = None, batch_size: int | None = None
) -> Float[Array, " b"]:
    """1 where the masked image has a higher probability than the image, else 0; high is good (Chattopadhay et al. 2018,
    arXiv:1710.11063).

    Args: as `average_drop`. The mean is the share of images.
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return jnp.where(jnp.isnan(before + after), jnp.nan, after > before).astype(before.dtype)


@entry
def average_gain(
    model: Model, images: Images, values: Any, target: Any = None, *, baseline: Any = None, batch_size: int | None = None
) -> Float[Array, " b"]:
    """`max(a - b, 0) / (1 - b)`: how much of what was left to gain the masked image gains; high is good (Zhang et al. 2023,
    arXiv:2301.07002).

    Args: as `average_drop`, which says what a and b are. 0 where b is 1.
    """
    before, after = _scores(model, images, values, target, baseline, batch_size)
    return ratio(jnp.maximum(after - before, 0), 1 - before)


def _scores(
    model: Model, images: Images, values: Any, target: Any, baseline: Any, batch_size: int | None
) -> tuple[jax.Array, jax.Array]:
    """The scores of the images, and through their masks."""
    query = metric_query(model, images, target, "probability", baseline)
    mask = normalize(jnp.abs(map_of(values, query)))[..., None]
    before, after = scores_of(query, query.values, batch_size), scores_of(query, blend(query, mask), batch_size)
    for scores in (before, after):
        if not isinstance(scores, Tracer) and not ((scores >= 0) & (scores <= 1 + 1e-5)).all():
            worst = float(np.asarray(scores)[np.argmax(np.abs(np.asarray(scores) - 0.5))])
            raise ValueError(f"target has the score {worst:.4g}, but a probability is needed: pass a class.")
    return before, after
