"""Sobol indices: the share of the score's variance in which a cell takes part."""

import functools
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_int
from jaxlens._pytree import pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, TargetLike
from jaxlens.attribution.perturbation._features import cells_of, grid_features, map_size
from jaxlens.attribution.perturbation._masked import masked_scores
from jaxlens.model import Model

BITS = 24  # per coordinate of a point, as many as a float32 holds


@pytree
class Designs:
    """Masks for each pair of random grids a and b: a, b, and a with one cell from b, for each cell.

    A mask of 1 shows a cell, 0 hides it.
    """

    a: Float[Array, "n d"]
    b: Float[Array, "n d"]
    features: Any  # [H, W, 1], the cell of each pixel

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Float[Array, "s h w 1"]:
        cells = self.a.shape[1]
        design, which = number // (cells + 2), number % (cells + 2)
        from_b = (which == 1)[:, None] | (jnp.arange(cells)[None] == which[:, None] - 2)
        return jnp.where(from_b, self.b[design], self.a[design])[:, self.features]


@method(values="sizes")
def sobol(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    cells: int | tuple[int, int] = 8,
    designs: int = 32,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Estimate the total-order Sobol index of each cell of a grid of random opacities.

    `ST_i = E (score(A) - score(A with cell i of B))**2 / (2 Var score)` (Jansen 1999; Fel et al.
    2021, arXiv:2111.04138). A and B are grids of opacities in [0, 1]: scrambled Sobol points, two
    for each cell. A cell of opacity a shows `a * image + (1 - a) * baseline` in all its pixels. An
    index is the share of the variance that would remain if all other cells were known. It is
    unsigned, and 0 for a cell without effect. An interaction counts for each cell in it, so the
    indices add up to 1 or more.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`. The layer
            must have maps.
        cells: cells of the grid, one number for both axes or (rows, columns).
        designs: pairs of grids, a power of 2; each costs `rows * columns + 2` evaluations per
            image. All images have the same designs.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: `[B, rows, columns, 1]`, one value per cell;
        `attribution.resize(values, size, "nearest")` shows them on the image.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.sobol(model, images, cells=2, designs=4).values.shape
        (2, 2, 2, 1)
    """
    designs = check_int(designs, "designs", low=2, high=2**16)
    if designs & (designs - 1):
        raise ValueError(f"designs={designs} must be a power of 2, such as 32, where the sequence is balanced.")
    query = ask(model, images, target, layer=layer, baseline=baseline)
    size = map_size(query, "sobol")
    rows, columns = cells_of(cells, size)
    many = rows * columns
    a, b = opacities(as_key(seed), designs, many)
    masks = Designs(a=a, b=b, features=grid_features(size, (rows, columns))[..., None])
    found = masked_scores(query, masks, designs * (many + 2), batch_size=batch_size, progress=progress, label="sobol")
    found = jnp.moveaxis(found.reshape(query.count, designs, many + 2), 1, 2)
    values = total_indices(found[:, 0], found[:, 1], found[:, 2:]).reshape(query.count, rows, columns, 1)
    return Attribution(values=values, scores=scores_of(query, query.values, batch_size), method="sobol", layer=query.layer)


@jax.jit
def total_indices(a: Float[Array, "b n"], b: Float[Array, "b n"], mixed: Float[Array, "b d n"]) -> Float[Array, "b d"]:
    """Return Jansen's estimate from the outputs for A, for B, and for A with one input from B each.

    The variance is that of A's and B's outputs. Outputs that do not vary beyond rounding give 0.
    """
    both = jnp.concatenate([a, b], axis=1)
    variance = both.var(1)
    least = jnp.square(4 * jnp.finfo(both.dtype).eps * jnp.abs(both).max(1))
    still = variance <= least  # false for NaN, which must not become 0
    change = jnp.square(a[:, None] - mixed).mean(2)
    return jnp.where(still[:, None], 0, change / (2 * jnp.where(still, 1, variance))[:, None])


@functools.partial(jax.jit, static_argnums=(1, 2))
def opacities(key: Any, designs: int, cells: int) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """Return two grids of opacities in [0, 1) for each design; `designs` is a power of 2.

    The two opacities of a cell are, over the designs, the first two dimensions of a Sobol sequence:
    every box of area 1 / designs has one point in it. Each cell has its own scrambling (random
    linear, with a digital shift; Matousek 1998, doi:10.1006/jcom.1998.0489) and its own order, so
    that cells are independent.

    Differs from the usual single sequence with as many dimensions as there are opacities: with so
    few points, most pairs of its dimensions are correlated, and the indices of a linear score come
    out twice as far off.
    """
    digits, place = jnp.asarray(_net(designs)), jnp.asarray(2.0 ** -np.arange(1, BITS + 1), jnp.float32)
    below = np.arange(BITS)[:, None] > np.arange(digits.shape[-1])[None]

    def one(key: Any) -> jax.Array:
        matrix, shift, order = jax.random.split(key, 3)
        mixing = jax.random.bernoulli(matrix, 0.5, (2, *below.shape)) & jnp.asarray(below)[None]
        mixing = (mixing | jnp.eye(*below.shape, dtype=bool)[None]).astype(jnp.float32)
        mixed = jnp.einsum("nkj,kij->nki", digits, mixing).astype(jnp.int32)  # small whole numbers: exact in any precision
        mixed = (mixed + jax.random.bernoulli(shift, 0.5, (1, 2, BITS)).astype(jnp.int32)) % 2
        return jax.random.permutation(order, (mixed.astype(place.dtype) * place[None, None]).sum(-1))

    points = jax.vmap(one)(jax.random.split(key, cells))
    return points[..., 0].T, points[..., 1].T


def _net(count: int) -> np.ndarray:
    """Return the binary digits of the first 2-d Sobol points, `[count, 2, log2(count)]`."""
    bits = count.bit_length() - 1
    digits = np.arange(count)[:, None] >> np.arange(bits)[None] & 1
    pascal = np.array([[comb(column, row) % 2 for column in range(bits)] for row in range(bits)])
    return np.stack([digits, digits @ pascal.T % 2], axis=1).astype(np.float32)
