"""Rotation and scaling of an image by bilinear interpolation, with a fast and exact gradient."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# With more target pixels than this per axis under one source pixel, the unrolled adjoint costs more
# than it saves.
MAX_UNROLLED = 5


def rotate_and_scale(
    images: Float[Array, "b h w c"],
    scale: Float[Array, ""],
    angle: Float[Array, ""],
    *,
    max_scale: float,
    max_angle: float,
    fill: float,
) -> Float[Array, "b h w c"]:
    """Turn images by `angle` and enlarge them by `scale` about their center; their size stays.

    The pixel center q of the result shows the source point p = R(-angle) (q - center) / scale +
    center, interpolated between its four neighbors. Beyond the border lies a plane of color
    `fill`. The arithmetic is float32 whatever the dtype of the images.

    Args:
        images: the images, all with the same draw.
        scale: above 1 enlarges.
        angle: radians, counter-clockwise as the image is displayed.
        max_scale: a static bound of `scale`.
        max_angle: a static bound of `|angle|`.
        fill: the color outside.
    """
    b, h, w, c = images.shape
    forward = jnp.stack([scale * jnp.cos(angle), scale * jnp.sin(angle)]).astype(jnp.float32)
    backward = jnp.stack([jnp.cos(angle) / scale, jnp.sin(angle) / scale]).astype(jnp.float32)
    planes = jnp.moveaxis(images.astype(jnp.float32) - fill, 0, 2).reshape(h, w, b * c)
    # A source pixel reaches the targets in a turned square of half-width `scale`: at most `reach`
    # per axis.
    turn = min(max_angle, math.pi / 4)
    reach = math.ceil(2 * max_scale * (math.cos(turn) + math.sin(turn)))
    warped = _warp(planes, backward) if reach > MAX_UNROLLED else _warp_linear(reach, planes, backward, forward)
    return (jnp.moveaxis(warped.reshape(h, w, b, c), 2, 0) + fill).astype(images.dtype)


def _warp(planes: Float[Array, "h w n"], backward: Float[Array, "2"]) -> Float[Array, "h w n"]:
    """Return bilinear samples of `planes`, 0 outside, at the source points of all target pixels."""
    h, w, n = planes.shape
    y, x = _source_points(*_centred_grid(h, w), backward, h, w)
    y, x = jnp.clip(y, -1, h), jnp.clip(x, -1, w)
    top, left = jnp.clip(jnp.floor(y), -1, h - 1), jnp.clip(jnp.floor(x), -1, w - 1)
    down, right = (y - top)[..., None], (x - left)[..., None]
    rows = jnp.pad(planes, ((1, 1), (1, 1), (0, 0))).reshape(-1, n)
    start = (top.astype(jnp.int32) + 1) * (w + 2) + left.astype(jnp.int32) + 1

    def corner(offset: int) -> Float[Array, "h w n"]:
        return rows.at[start + offset].get(mode="promise_in_bounds")

    upper = (1 - right) * corner(0) + right * corner(1)
    lower = (1 - right) * corner(w + 2) + right * corner(w + 3)
    return (1 - down) * upper + down * lower


def _warp_adjoint(
    reach: int, cotangent: Float[Array, "h w n"], backward: Float[Array, "2"], forward: Float[Array, "2"]
) -> Float[Array, "h w n"]:
    """Apply the exact adjoint of `_warp` as a gather: each source pixel collects from its targets.

    The plain gradient of `_warp` is a scatter: XLA runs it one element at a time on a CPU, and on
    a GPU with atomic additions in no fixed order.
    """
    h, w, n = cotangent.shape
    grid_y, grid_x = _centred_grid(h, w)
    (cos, sin), radius = forward, jnp.abs(forward).sum()
    top = jnp.ceil(cos * grid_y - sin * grid_x + (h - 1) / 2 - radius)
    left = jnp.ceil(sin * grid_y + cos * grid_x + (w - 1) / 2 - radius)
    top, left = jnp.clip(top, -reach, h), jnp.clip(left, -reach, w)  # outside: read the zeros of the padding
    width = w + 2 * reach
    rows = jnp.pad(cotangent, ((reach, reach), (reach, reach), (0, 0))).reshape(-1, n)
    start = (top.astype(jnp.int32) + reach) * width + left.astype(jnp.int32) + reach
    own_y, own_x = grid_y + (h - 1) / 2, grid_x + (w - 1) / 2

    total = jnp.zeros_like(cotangent)
    for i in range(reach):
        for j in range(reach):
            y, x = _source_points(top + (i - (h - 1) / 2), left + (j - (w - 1) / 2), backward, h, w)
            weight = jnp.maximum(0, 1 - jnp.abs(y - own_y)) * jnp.maximum(0, 1 - jnp.abs(x - own_x))
            total += weight[..., None] * rows.at[start + (i * width + j)].get(mode="promise_in_bounds")
    return total


def _warp_only(
    reach: int, planes: Float[Array, "h w n"], backward: Float[Array, "2"], forward: Float[Array, "2"]
) -> Float[Array, "h w n"]:
    return _warp(planes, backward)


def _warp_linear_fwd(reach, planes, backward, forward):
    return _warp(planes, backward), (backward, forward)


def _warp_linear_bwd(reach, residuals, cotangent):
    backward, forward = residuals
    return _warp_adjoint(reach, cotangent, backward, forward), jnp.zeros_like(backward), jnp.zeros_like(forward)


# `_warp` with `_warp_adjoint` as its gradient; the drawn scale and angle are constants to it.
_warp_linear = jax.custom_vjp(_warp_only, nondiff_argnums=(0,))
_warp_linear.defvjp(_warp_linear_fwd, _warp_linear_bwd)


def _centred_grid(h: int, w: int) -> tuple[Float[Array, "h 1"], Float[Array, "1 w"]]:
    """Return row and column coordinates of the pixel centers, from the center of the image."""
    return (
        jnp.arange(h, dtype=jnp.float32)[:, None] - (h - 1) / 2,
        jnp.arange(w, dtype=jnp.float32)[None, :] - (w - 1) / 2,
    )


def _source_points(
    y: Float[Array, "..."], x: Float[Array, "..."], backward: Float[Array, "2"], h: int, w: int
) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """Return source coordinates in pixels of the target points (y, x) from the center."""
    cos, sin = backward
    return cos * y + sin * x + (h - 1) / 2, cos * x - sin * y + (w - 1) / 2
