"""`F.interpolate`: one matrix for each axis of space, as PyTorch defines its weights."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens import _kernels
from jaxlens.errors import UnsupportedOperatorError
from jaxlens.graph._tensor import Tensor, maps
from jaxlens.graph.ops._table import op, pair, refuse


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
    """Resize as PyTorch's `interpolate` does.

    Modes: nearest, nearest-exact, linear, bilinear, trilinear, bicubic and area.
    """
    factors = None if scale_factor is None else [float(s) for s in _each(scale_factor, input.ndim - 2)]
    space = input.shape[2:]
    sizes = pair(size, len(space)) if factors is None else _scaled(space, factors)
    return _interpolated(input, sizes, None if recompute_scale_factor else factors, mode, align_corners, antialias)


def _scaled(space: Sequence[int], factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.floor(n * s) for n, s in zip(space, factors, strict=True))


def _interpolated(
    input: Tensor, sizes: Sequence[int], factors: Sequence[float | None] | None, mode: str, align: bool | None, antialias: bool
) -> Tensor:
    """Resize to these sizes.

    Where factors are given, the weights come from them, not from the quotient of the sizes.
    """
    x = input.channels_last
    if mode == "area":
        refuse(input.ndim != 4, f"interpolate in mode 'area' over {input.ndim - 2} axes")
        return maps(_kernels.adaptive_avg_pool(x, sizes))
    factors = factors or [None] * len(sizes)
    for axis, (n, m, factor) in enumerate(zip(input.shape[2:], sizes, factors, strict=True), 1):
        x = _resized(x, axis, n, m, factor, mode, bool(align), antialias)
    return maps(x)


def _each(value: Any, axes: int) -> tuple[Any, ...]:
    return (value,) * axes if isinstance(value, int | float) else tuple(value)


def _resized(
    x: jax.Array, axis: int, n: int, m: int, factor: float | None, mode: str, align: bool, antialias: bool
) -> jax.Array:
    if mode in ("nearest", "nearest-exact"):
        # In float32, to round as PyTorch does: pixel 41 of an image enlarged 41 times is still the
        # first.
        scale = np.float32(n / m if factor is None else 1 / factor)
        if mode == "nearest" and m in (n, 2 * n):
            scale = np.float32(n / m)
        offset = np.float32(0.5 if mode == "nearest-exact" else 0)
        places = np.minimum(np.floor((np.arange(m, dtype=np.float32) + offset) * scale).astype(int), n - 1)
        if m % n == 0 and np.array_equal(places, np.arange(m) // (m // n)):
            return jnp.repeat(x, m // n, axis) if m != n else x
        return jnp.take(x, places, axis)
    if mode not in ("linear", "bilinear", "trilinear", "bicubic"):
        raise UnsupportedOperatorError(f"interpolate in mode {mode!r}")
    if n == m and (factor in (None, 1) or mode != "bicubic" or antialias):  # PyTorch then looks at no factor
        return x
    weights = jnp.asarray(_weights(n, m, factor, mode == "bicubic", align, antialias), x.dtype)
    moved = lax.dot_general(x, weights, (((axis,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(moved, -1, axis)


@functools.lru_cache(maxsize=256)
def _weights(n: int, m: int, factor: float | None, cubic: bool, align: bool, antialias: bool) -> np.ndarray:
    """Return `[m, n]`: the weight of each old pixel in each new one."""
    scale = (n - 1) / (m - 1) if align and m > 1 else 0.0 if align else n / m if factor is None else 1 / factor
    weights = np.zeros((m, n))
    for i in range(m):
        if antialias:
            # as in PIL: the filter is widened by the scale, and cubic has a = -0.5
            wide = max(scale, 1.0)
            reach, center = (2 if cubic else 1) * wide, scale * (i + 0.5)
            low, high = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), n)
            taps = [(j, _filter((j - center + 0.5) / wide, cubic, -0.5)) for j in range(low, high)]
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


def _upsample(mode: str, aligned: bool, antialias: bool = False) -> Any:
    def upsample(input: Tensor, output_size: Any, *rest: Any) -> Tensor:
        """Resize with ATen's arguments: `(input, size, align_corners, scales...)`.

        Only the smooth modes have the flag. A scale may be None; one list of scales is the overload
        `vec`.
        """
        align, scales = (rest[0], rest[1:]) if aligned else (None, rest)
        factors = scales[0] if len(scales) == 1 and isinstance(scales[0], tuple) else scales
        factors = None if all(factor is None for factor in factors) else (*factors,)
        sizes = _scaled(input.shape[2:], factors or ()) if output_size is None else pair(output_size, input.ndim - 2)
        return _interpolated(input, sizes, factors, mode, align, antialias)

    return upsample


for _space, _smooth in ((1, "linear"), (2, "bilinear"), (3, "trilinear")):
    op(f"upsample_nearest{_space}d")(_upsample("nearest", False))
    op(f"_upsample_nearest_exact{_space}d")(_upsample("nearest-exact", False))
    op(f"upsample_{_smooth}{_space}d")(_upsample(_smooth, True))
op("upsample_bicubic2d")(_upsample("bicubic", True))
op("_upsample_bilinear2d_aa")(_upsample("bilinear", True, antialias=True))
op("_upsample_bicubic2d_aa")(_upsample("bicubic", True, antialias=True))
