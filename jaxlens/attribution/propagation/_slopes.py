"""Slopes between baseline and image in place of derivatives: DeepLift's Rescale rule by function.

Each function here has the value of another one, and a gradient by which differences add up exactly:
the gradient times `x - x0` is the difference of the results.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._numerics import nonzero
from jaxlens.attribution.propagation._steps import with_slope

# Below this share of the two values their difference is rounding: the derivative is taken instead.
CLOSE = 1e-6
Function = Callable[[Any], Any]


def line(x: Any, x0: Any, y: Any, y0: Any, fn: Function) -> Any:
    """Return `y = fn(x)`, element by element, with the slope `(y - y0) / (x - x0)`.

    Where the two points are one, the derivative takes its place; an infinite derivative (a root's
    at 0) counts as 0.
    """
    dx = x - x0
    small = max(CLOSE, float(jnp.finfo(x.dtype).eps))
    near = (x == x0) | (jnp.abs(dx) <= small * jnp.maximum(jnp.abs(x), jnp.abs(x0)))
    _, back = jax.vjp(fn, jax.lax.stop_gradient(x))
    own = back(jnp.ones_like(y))[0]
    rise = difference(y, y0).astype(x.dtype)
    return with_slope(y, x, jnp.where(near, jnp.where(jnp.isfinite(own), own, 0), rise / jnp.where(near, 1, dx)))


def difference(a: Any, b: Any) -> Any:
    """Return `a - b`, and 0 for two equal infinities."""
    return jnp.where(a == b, 0, a - b)


def times(a: Any, b: Any, a0: Any, b0: Any) -> Any:
    """Return `a b`, where each has as its slope the mean of the other.

    `ab - a0 b0 = (b + b0)/2 da + (a + a0)/2 db`.
    """
    product = jax.lax.stop_gradient(a * b)
    by_b = with_slope(jnp.zeros_like(product), b, jnp.broadcast_to((a + a0) / 2, product.shape))
    return with_slope(product, a, jnp.broadcast_to((b + b0) / 2, product.shape)) + by_b


def product(fn: Callable[[Any, Any], Any], now: list[Any], then: list[Any]) -> Any:
    """Return `fn(*now)`, with the slopes of `times`, for `fn` linear in each of two arrays."""

    @jax.custom_vjp
    def run(a: Any, b: Any) -> Any:
        return fn(a, b)

    def forward(a: Any, b: Any) -> tuple[Any, Any]:
        return fn(a, b), ((a + then[0]) / 2, (b + then[1]) / 2)

    run.defvjp(forward, lambda means, g: jax.vjp(fn, *means)[1](g))
    return run(*now)


def extremum(a: Any, b: Any, a0: Any, b0: Any, largest: bool) -> Any:
    """Return `max(a, b) = b + relu(a - b)`, or `min(a, b) = b - relu(b - a)`."""
    sign = 1 if largest else -1
    gap, gap0 = sign * difference(a, b), sign * difference(a0, b0)
    y, y0 = jnp.maximum(gap, 0), jnp.maximum(gap0, 0)
    return b + sign * line(gap, gap0, jax.lax.stop_gradient(y), y0, lambda x: jnp.maximum(x, 0))


def pool(fn: Function, fn0: Function, x: Any, x0: Any, largest: bool) -> Any:
    """Return `fn(x)` for a max-pool `fn` with slopes; `fn0` is the pool at the baseline.

    A rise of the maximum goes to the value that wins now, a fall to the one that won at the
    baseline; for a pool of the smallest value, the other way round. Where a value is the same at
    both, it has the pool's gradient.
    """

    @jax.custom_vjp
    def run(x: Any) -> Any:
        return fn(x)

    def backward(x: Any, g: Any) -> tuple[Any]:
        y, back = jax.vjp(fn, x)
        y0, back0 = jax.vjp(fn0, x0)
        between = (jnp.maximum if largest else jnp.minimum)(y, y0)
        dx = difference(x, x0)
        share = back(g * difference(between, y0))[0] + back0(g * difference(y, between))[0]
        return (jnp.where(dx == 0, back(g)[0], share / nonzero(dx)),)

    run.defvjp(lambda x: (fn(x), x), backward)
    return run(x)


def ranked(fn: Function, x: Any, x0: Any, axis: int, descending: bool) -> Any:
    """Return the values along an axis in order, or the first of them, with slopes.

    The sum of the k largest is a pool too: its rise goes to the k values that are the largest now,
    its fall to those that were, in proportion to how they changed. The k-th largest is the
    difference of two such sums. The lower half is that of the negated values.
    """

    @jax.custom_vjp
    def run(x: Any) -> Any:
        return fn(x)

    def backward(x: Any, g: Any) -> tuple[Any]:
        values, start, weights = (jnp.moveaxis(a, axis, -1) for a in (x, x0, g))
        if descending:
            return (jnp.moveaxis(_of_largest(values, start, weights), -1, axis),)
        upper = jnp.arange(values.shape[-1]) >= values.shape[-1] // 2
        upper = upper.reshape((1,) * (values.ndim - 1) + (-1,))
        up = _of_largest(values, start, jnp.where(upper, weights, 0)[..., ::-1])
        return (jnp.moveaxis(up + _of_largest(-values, -start, jnp.where(upper, 0, weights)), -1, axis),)

    run.defvjp(lambda x: (fn(x), x), backward)
    return run(x)


def _of_largest(x: Any, x0: Any, weights: Any) -> Any:
    """Return what each value gets where weight k goes to the k-th largest along the last axis."""
    weights = jnp.pad(weights, [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] + 1 - weights.shape[-1])])
    steps, order, order0 = weights[..., :-1] - weights[..., 1:], jnp.argsort(-x), jnp.argsort(-x0)

    def sums(a: Any, order: Any) -> Any:
        return jnp.cumsum(jnp.take_along_axis(a, order, -1), -1)

    change, moved, moved0 = sums(x, order) - sums(x0, order0), sums(x - x0, order), sums(x - x0, order0)
    up, down = (change > 0) & (moved > 0), (change < 0) & (moved0 < 0)
    still = (moved == 0) & ~down  # nothing moved: the gradient
    rise = jnp.where(up, change / jnp.where(up, moved, 1), jnp.where(still, 1, 0).astype(x.dtype))
    fall = jnp.where(down, change / jnp.where(down, moved0, 1), 0)
    return sum(
        jnp.take_along_axis(jnp.cumsum((steps * share)[..., ::-1], -1)[..., ::-1], jnp.argsort(order), -1)
        for share, order in ((rise, order), (fall, order0))
    )
