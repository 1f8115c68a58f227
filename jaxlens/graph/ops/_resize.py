"""`F.interpolate`: one matrix for each axis of space, as PyTorch defines its weights."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens import _kernels
from jaxlens.graph._tensor import Tensor, maps
from jaxlens.graph.ops._table import UnsupportedError, op, pair, refuse


@op("interpolate", "upsample", "__interpolate")
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """PyTorch's `interpolate` in modes nearest, nearest-exact, linear, bilinear, trilinear, bicubic and area."""
    x = input.channels_last
    axes = x.ndim - 2
    factors = None if scale_factor is None else [float(s) for s in _each(scale_factor, axes)]
    space = x.shape[1:-1]
    sizes = pair(size, axes) if factors is None else [math.floor(n * s) for n, s in zip(space, factors, strict=True)]
    if factors is None or recompute_scale_factor:
        factors = [None] * axes
    if mode == "area":
        refuse(axes != 2, f"interpolate in mode 'area' over {axes} axes")
        return maps(_kernels.adaptive_avg_pool(x, sizes))
    for axis, (n, m, factor) in enumerate(zip(space, sizes, factors, strict=True), 1):
        x = _resized(x, axis, n, m, factor, mode, bool(align_corners), antialias)
    return maps(x)


def _each(value: Any, axes: int) -> tuple[Any, ...]:
    return (value,) * axes if isinstance(value, int | float) else tuple(value)


def _resized(
    x: jax.Array, axis: int, n: int, m: int, factor: float | None, mode: str, align: bool, antialias: bool
) -> jax.Array:
    if mode in ("nearest", "nearest-exact"):
        if m % n == 0 and factor in (None, m / n):
            return jnp.repeat(x, m // n, axis) if m != n else x
        scale = np.float32(n / m if factor is None else 1 / factor)
        offset = np.float32(0.5 if mode == "nearest-exact" else 0)
        places = np.minimum(np.floor((np.arange(m, dtype=np.float32) + offset) * scale).astype(int), n - 1)
        return jnp.take(x, places, axis)
    if mode not in ("linear", "bilinear", "trilinear", "bicubic"):
        raise UnsupportedError(f"interpolate in mode {mode!r}")
    if n == m and factor in (None, 1):
        return x
    weights = jnp.asarray(_weights(n, m, factor, mode == "bicubic", align, antialias), x.dtype)
    moved = lax.dot_general(x, weights, (((axis,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(moved, -1, axis)


@functools.lru_cache(maxsize=256)
def _weights(n: int, m: int, factor: float | None, cubic: bool, align: bool, antialias: bool) -> np.ndarray:
    """`[m, n]`: how much of each pixel goes into each new one."""
    scale = (n - 1) / (m - 1) if align and m > 1 else 0.0 if align else n / m if factor is None else 1 / factor
    weights = np.zeros((m, n))
    for i in range(m):
        if antialias:
            # PIL's: the filter is widened by the scale; cubic with a = -0.5
            wide = max(scale, 1.0)
            reach, centre = (2 if cubic else 1) * wide, scale * (i + 0.5)
            low, high = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), n)
            taps = [(j, _filter((j - centre + 0.5) / wide, cubic, -0.5)) for j in range(low, high)]
            total = sum(weight for _, weight in taps)
            taps = [(j, weight / total) for j, weight in taps]
        else:
            place = scale * i if align else scale * (i + 0.5) - 0.5
            if not cubic:
                place = max(place, 0.0)
            first = math.floor(place)
            near = range(first - 1, first + 3) if cubic else range(first, first + 2)
            taps = [(j, _filter(j - place, cubic, -0.75)) for j in near]
        for j, weight in taps:
            weights[i, min(max(j, 0), n - 1)] += weight
    return weights.astype(np.float32)


def _filter(x: float, cubic: bool, a: float) -> float:
    x = abs(x)
    if not cubic:
        return max(1 - x, 0.0)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _upsample(mode: str, aligned: bool) -> Any:
    def upsample(input: Tensor, output_size: Any, *rest: Any) -> Tensor:
        """ATen's: `(input, size, align_corners, scales...)`, the flag for the smooth modes only."""
        align, scales = (rest[0], rest[1:]) if aligned else (None, rest)
        flat = [s for each in scales for s in (each if isinstance(each, tuple) else (each,)) if s is not None]
        if output_size is None:
            return interpolate(input, None, tuple(flat), mode, align)
        if flat:  # both: the size is as given, and the weights are made with the factors
            sizes = [math.floor(n * s) for n, s in zip(input.shape[2:], flat, strict=True)]
            if tuple(sizes) == pair(output_size, len(sizes)):
                return interpolate(input, None, tuple(flat), mode, align)
        return interpolate(input, output_size, None, mode, align)

    return upsample


for _space, _smooth in ((1, "linear"), (2, "bilinear"), (3, "trilinear")):
    op(f"upsample_nearest{_space}d")(_upsample("nearest", False))
    op(f"_upsample_nearest_exact{_space}d")(_upsample("nearest-exact", False))
    op(f"upsample_{_smooth}{_space}d")(_upsample(_smooth, True))
op("upsample_bicubic2d")(_upsample("bicubic", True))


def _antialiased(mode: str) -> Any:
    def upsample(input: Tensor, output_size: Any, align_corners: bool, *scales: Any) -> Tensor:
        return interpolate(input, output_size, None, mode, align_corners, antialias=True)

    return upsample


op("_upsample_bilinear2d_aa")(_antialiased("bilinear"))
op("_upsample_bicubic2d_aa")(_antialiased("bicubic"))
