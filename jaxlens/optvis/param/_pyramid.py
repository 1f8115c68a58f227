"""Images as sums of coarse images: Laplacian pyramids, and parts that several images share."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._numerics import lerp_matrix
from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Whole
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import NotAPair, theta_of
from jaxlens.optvis.param._spatial import check_sd, check_shape, fft_image
from jaxlens.optvis.param._types import Decorrelate, Offset, Shape
from jaxlens.optvis.param._valid import Valid

# For each shared part: the divisor of the image's sides, and how many images share it (0: all).
# From Lucid's notebook on aligned interpolation ("Differentiable image parameterizations",
# Mordvintsev et al. 2018).
SHARED = ((2, 0), (4, 0), (8, 0), (8, 2), (16, 0), (16, 2))


@pytree
class LowRes(NotAPair):
    """See `lowres_tensor`."""

    shape: tuple[int, int, int, int] = field(static=True)
    underlying: tuple[int, int, int, int] = field(static=True)
    offset: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b h w c"]:
        """Return Gaussian numbers of deviation `sd`, in the coarse shape."""
        return jax.random.normal(key, self.underlying, jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b2 h2 w2 c2"]) -> Float[Array, "b h w c"]:
        """Return the coarse numbers, interpolated and moved by the offset."""
        x = theta.astype(jnp.float32)
        for axis, (n, d) in enumerate(zip(self.shape, self.offset, strict=True)):
            matrix = jnp.asarray(_interpolation(x.shape[axis], n, d))
            x = jnp.moveaxis(jnp.tensordot(matrix, x, axes=(1, axis), precision="highest"), 0, axis)
        return x


def _interpolation(n: int, m: int, offset: int) -> np.ndarray:
    """Return the `[m, n]` matrix that samples n values at m points.

    Pixel centers are aligned, and the points moved by `offset`. The values are mirrored at both
    ends.
    """
    points = (np.arange(m) + offset + 0.5) * n / m - 0.5
    points = n - np.abs((points + 0.5) % (2 * n) - n) - 0.5  # mirrored at both borders
    return lerp_matrix(np.clip(points, 0, n - 1), n)


@pytree
class Total(NotAPair):
    """The sum of several unbounded parameterizations of one shape."""

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, C) of the images."""
        return self.parts[0].shape

    @jax.jit  # one program: by itself, each of the many small operations compiles one
    def init(self, key: PRNGKeyArray) -> tuple[Any, ...]:
        """Return the start of each part."""
        return tuple(part.init(jax.random.fold_in(key, i)) for i, part in enumerate(self.parts))

    @jax.jit
    def to_image(self, theta: tuple[Any, ...]) -> Float[Array, "b h w c"]:
        """Return the sum of the parts."""
        return functools.reduce(jnp.add, [part.to_image(each) for part, each in zip(self.parts, theta, strict=True)])

    def from_image(self, images: Float[Array, "b h w c"]) -> tuple[Array, ...]:
        """Return a theta of these images: the first part holds them, and the others are 0."""
        rest = [jax.eval_shape(part.init, jax.random.key(0)) for part in self.parts[1:]]
        return (theta_of(self.parts[0], images), *(jnp.zeros(each.shape, each.dtype) for each in rest))


@pytree
class Pyramid(Total):
    """See `laplacian_pyramid_image`: parts from the finest to the coarsest."""

    parts: tuple[Any, ...]

    def from_image(self, images: Float[Array, "b h w c"]) -> tuple[Array, ...]:
        """Return a theta of these images, coarse parts first; the finest holds what they leave."""
        left, theta = images.astype(jnp.float32), []
        for part in reversed(self.parts[1:]):
            coarse = jax.image.resize(left, part.underlying, "linear")  # with antialiasing
            left = left - part.to_image(coarse)
            theta.insert(0, coarse)
        return (left, *theta)


def lowres_tensor(
    shape: Shape,
    underlying_shape: Shape,
    offset: Offset | None = None,
    sd: Number | None = None,
) -> LowRes:
    """Images interpolated from fewer numbers: one coarse image, or one that several images share.

    As in Lucid, with pixel centers aligned and mirrored ends. Lucent pads the last two axes only.
    The images are unbounded: see `to_valid_rgb`.

    Args:
        shape: (B, H, W, C) of the images.
        underlying_shape: the shape that is stored, nowhere larger, such as (1, H // 8, W // 8, C)
            for one coarse image that all B share.
        offset: by how many pixels the result is moved along each axis. True is half a stored pixel;
            none by default.
        sd: the deviation of the Gaussian start, 0.01 by default.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.lowres_tensor((4, 24, 32, 3), (1, 3, 4, 3))
        >>> theta = p.init(jax.random.key(0))
        >>> theta.shape, p.to_image(theta).shape
        ((1, 3, 4, 3), (4, 24, 32, 3))
    """
    full, under = check_shape(shape), check_shape(underlying_shape, "underlying_shape")
    if any(n > m for n, m in zip(under, full, strict=True)):
        raise ValueError(f"underlying_shape={under} must be (B, H, W, C), nowhere larger than shape={full}.")
    if isinstance(offset, np.ndarray):
        offset = offset.tolist()
    if offset is True:
        moved = tuple(m // n // 2 for n, m in zip(under, full, strict=True))
    elif not offset:
        moved = (0, 0, 0, 0)
    else:
        moved = tuple(offset) if isinstance(offset, list | tuple) else (offset,) * 4
        if len(moved) != 4 or not all(isinstance(d, int) and abs(d) <= SIDE for d in moved):
            raise ValueError(f"offset={offset!r} must be one integer, four, True or None.")
    return LowRes(shape=full, underlying=under, offset=moved, sd=check_sd(sd))  # type: ignore[arg-type]


def laplacian_pyramid_image(shape: Shape, n_levels: Whole = 4, sd: Number | None = None) -> Pyramid:
    """Images as a sum of images with sides of 1, 1/2, 1/4, ... of theirs; as in Lucid.

    They are unbounded: see `to_valid_rgb`.

    Args:
        shape: (B, H, W, C) of the images.
        n_levels: how many images are summed.
        sd: the deviation of the Gaussian start of each level, 0.01 by default.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.laplacian_pyramid_image((1, 24, 32, 3), n_levels=3)
        >>> [level.shape for level in p.init(jax.random.key(0))]
        [(1, 24, 32, 3), (1, 12, 16, 3), (1, 6, 8, 3)]
    """
    b, h, w, c = full = check_shape(shape)
    levels = check_int(n_levels, "n_levels", low=1, high=32)
    if min(h, w) < 2 ** (levels - 1):
        raise ValueError(f"n_levels={n_levels} halve images of {h}x{w} to nothing; use fewer.")
    sizes = [(b, h // 2**n, w // 2**n, c) for n in range(levels)]
    return Pyramid(parts=tuple(lowres_tensor(full, size, sd=sd) for size in sizes))


def aligned(
    w: Whole,
    h: Whole | None = None,
    batch: Whole = 6,
    sd: Number | None = None,
    *,
    decorrelate: Decorrelate = True,
    channels: Whole = 3,
) -> Valid:
    """Several images in [0, 1] that share their coarse structure.

    They look alike as far as objectives allow. Each is a Fourier image of its own plus coarse
    parts that all images, or pairs of neighbors, share. For `objectives.channel_interpolate` and
    other series; `objectives.alignment` makes neighbors still more alike.

    Args:
        w: the width.
        h: the height; `w` by default.
        batch: how many images.
        sd: the deviation of the Gaussian start of every part, 0.01 by default.
        decorrelate: as in `param.image`; images of other than 3 channels are never decorrelated.
        channels: channels of the images.

    Example:
        >>> from jaxlens.optvis import param
        >>> param.aligned(32, 24, batch=4).shape
        (4, 24, 32, 3)
    """
    shape = full = check_shape((batch, w if h is None else h, w, channels), ("batch", "h", "w", "channels"))
    shared = [
        lowres_tensor(full, (max(1, full[0] // n if n else 1), max(1, full[1] // k), max(1, full[2] // k), full[3]), sd=sd)
        for k, n in SHARED
    ]
    mixes, matrix = color.check_matrix(decorrelate if full[3] == 3 else False)
    return Valid(inner=Total(parts=(fft_image(shape, sd), *shared)), decorrelate=mixes, sigmoid=True, matrix=matrix)
