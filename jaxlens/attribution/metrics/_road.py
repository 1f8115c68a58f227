"""ROAD: remove and debias. Removed pixels get what their neighbors suggest, not one color."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._checks import as_array, as_key, check_choice, check_images, check_scalar, is_known
from jaxlens._pytree import pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import accumulate
from jaxlens.attribution._draws import drawn
from jaxlens.attribution._entry import entry, varying
from jaxlens.attribution._query import Query
from jaxlens.attribution._types import MaskLike, TargetLike, ValuesLike
from jaxlens.attribution.gradient._noise import MAX_NOISE, check_sigma
from jaxlens.attribution.metrics._inputs import Curve, map_of, metric_query, ranks_of
from jaxlens.model import Model

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TOLERANCE = 1e-6  # of the residual, relative to the right-hand side


@entry
def noisy_linear_imputation(images: Images, keep: MaskLike, *, noise: float = 0.01, seed: Seed = 0) -> Float[Array, "b h w c"]:
    """Replace each pixel that is not kept by the weighted mean of its eight neighbors, plus noise.

    Rong et al. 2022, arXiv:2202.00449. Neighbors beside, above and below have weight 1/6, diagonal
    ones 1/12. Beyond the border there are none, and the others' weights grow. This is one linear
    system for all removed pixels of an image. It is symmetric and positive definite, and solved by
    conjugate gradients.

    Args:
        images: `[B, H, W, C]` in [0, 1].
        keep: `[H, W]` or `[B, H, W]`, true or 1 where a pixel is kept; at least one in each image.
        noise: standard deviation of the normal noise that removed pixels get, in units of the
            images. pytorch-grad-cam adds 0.01 to normalized images.
        seed: an int or a JAX key; the noise is the same for all images.

    Returns: the images, not clipped.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> images, keep = np.full((1, 4, 6, 3), 0.5), np.ones((4, 6), bool)
        >>> images[0, 1, 2], keep[1, 2] = 1.0, False  # a white pixel, to be filled in
        >>> filled = metrics.noisy_linear_imputation(images, keep, noise=0)
        >>> filled[0, 1, 2].round(3).tolist()
        [0.5, 0.5, 0.5]
    """
    images = check_images(images, channels=None)
    given = as_array(keep, "keep", "an array of bools")
    if given.shape not in (images.shape[:3], images.shape[1:3]):
        raise ValueError(f"keep has shape {given.shape}, but {images.shape[1:3]} or {images.shape[:3]} is needed.")
    given = jnp.broadcast_to(given.astype(bool), images.shape[:3])
    if is_known(given) and not bool(given.any((1, 2)).all()):
        raise ValueError("keep is false everywhere in some image: there is nothing to fill it from.")
    noise = check_scalar(noise, "noise", low=0, high=MAX_NOISE)
    draw = noise * jax.random.normal(as_key(seed), images.shape[1:], images.dtype)
    return impute(images, varying(given.astype(images.dtype), images), jnp.broadcast_to(draw, images.shape))


@jax.jit
def impute(
    images: Float[Array, "n h w c"], keep: Float[Array, "n h w"], noise: Float[Array, "n h w c"]
) -> Float[Array, "n h w c"]:
    """Apply `noisy_linear_imputation` with this noise; each channel of an image stops by itself."""
    per_channel = jax.vmap(_solve, in_axes=(2, None), out_axes=2)
    return jax.vmap(per_channel)(images, keep) + (1 - keep)[..., None] * noise


def _solve(image: Float[Array, "h w"], keep: Float[Array, "h w"]) -> Float[Array, "h w"]:
    hole = 1 - keep
    weight = _neighbours(jnp.ones_like(image))  # 1 except at the border
    mean = (keep * image).sum() / jnp.maximum(keep.sum(), 1)
    # Start from the mean of the kept pixels: the rest of the solution is small.
    right = hole * _neighbours(keep * (image - mean))
    found = _conjugate_gradients(lambda u: hole * (weight * u - _neighbours(u)), right, 4 * sum(image.shape))
    return keep * image + hole * (mean + found)


def _conjugate_gradients(apply: Callable[[Any], Any], right: Float[Array, "h w"], most: int) -> Float[Array, "h w"]:
    """Return the u with `apply(u) = right`, starting from 0.

    JAX's own solver does not run in loops inside `jax.shard_map`.
    """

    def dot(a: Any, b: Any) -> jax.Array:
        return jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)

    def step(state: Any) -> Any:
        found, rest, way, size, done = state
        pushed = apply(way)
        length = size / dot(way, pushed)
        found, rest = found + length * way, rest - length * pushed
        after = dot(rest, rest)
        return found, rest, rest + after / size * way, after, done + 1

    size = dot(right, right)
    start, done = varying((jnp.zeros_like(right), jnp.int32(0)), right)
    unfinished = lambda state: (state[3] > TOLERANCE**2 * size) & (state[4] < most)  # noqa: E731
    return jax.lax.while_loop(unfinished, step, (start, right, right, size, done))[0]


def _neighbours(x: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """Return the weighted sum of each pixel's eight neighbors; beyond the border there are none."""
    padded = jnp.pad(x, 1)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] - 4 * x) / 12


@pytree
class _Removal:
    """Which pixels are removed, and the noise in their fill."""

    ranks: Int[Array, "b h w"]
    counts: Int[Array, " s"]  # of removed pixels; negative counts remove from the end of the order
    noise: Float[Array, ""]
    key: Any


@entry
def road(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    order: str = "combined",
    fractions: tuple[float, ...] = FRACTIONS,
    noise: float = 0.01,
    score: str = "probability",
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Curve:
    """Score the images after removing pixels in the order of an attribution, by imputation.

    Rong et al. 2022, arXiv:2202.00449. Where pixels are filled with a color, the shape of what was
    removed tells the network something; `noisy_linear_imputation` tells it less.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.
        values, score: as in `deletion`.
        order: "morf" removes the most relevant first: low scores are good. "lerf" removes the least
            relevant first: high ones are. "combined" is `(lerf - morf) / 2`: high is good, and a
                random
            order has 0.
        fractions: shares of the pixels to remove, each in (0, 1). pytorch-grad-cam's percentile 80
            of the most relevant removes the share 0.2.
        noise: as in `noisy_linear_imputation`.
        seed: an int or a JAX key. The noise is the same for all images.
        progress: show a bar when it takes longer than two seconds.

    Returns: a `Curve` with scores `[B, len(fractions)]`; its area is their mean. pytorch-grad-cam
        subtracts the score of the whole image from "morf" and "lerf", which makes no difference to
        "combined".

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.input_x_gradient(model, images)
        >>> attribution.metrics.road(model, images, found, fractions=(0.2, 0.5)).scores.shape
        (2, 2)
    """
    check_choice(order, "order", ("combined", "morf", "lerf"))
    query = metric_query(model, images, target, score)
    ranks = ranks_of(map_of(values, query))
    pixels = math.prod(ranks.shape[1:])
    shares = np.asarray(as_array(fractions, "fractions", "shares of the pixels, such as (0.1, 0.5)"), np.float64)
    counts = np.round(np.nan_to_num(np.clip(shares, 0, 1)) * pixels).astype(np.int32)
    if shares.ndim != 1 or not shares.size or not ((counts >= 1) & (counts < pixels)).all():
        raise ValueError(
            f"fractions={fractions!r} must be shares of the pixels between 0 and 1, at least one pixel and not all {pixels}."
        )
    signed = {"morf": counts, "lerf": -counts, "combined": np.concatenate([counts, -counts])}[order]
    removal = _Removal(ranks=ranks, counts=jnp.asarray(signed), noise=check_sigma(noise, query, "noise"), key=as_key(seed))
    state = jnp.zeros((query.count, len(signed)), jnp.float32)
    scores = accumulate(_fill, query, removal, state, len(signed), batch_size=batch_size, progress=progress, label="road")
    if order == "combined":
        scores = (scores[:, len(counts) :] - scores[:, : len(counts)]) / 2
    return Curve(area=scores.mean(1), scores=scores, fractions=jnp.asarray(counts / pixels, scores.dtype))


def _fill(
    query: Query, removal: _Removal, image: jax.Array, number: jax.Array, alive: jax.Array, state: jax.Array
) -> jax.Array:
    ranks = removal.ranks[image]
    count, pixels = removal.counts[number][:, None, None], math.prod(ranks.shape[1:])
    removed = jnp.where(count > 0, ranks < count, ranks >= pixels + count)
    noise = removal.noise * drawn(removal.key, number, query.values.shape[1:], query.values.dtype)
    filled = impute(query.values, 1 - removed.astype(query.values.dtype), noise)
    return state.at[image, number].set(query.scores(filled).astype(state.dtype))
