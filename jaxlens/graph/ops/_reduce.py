"""Sums, means, extrema and norms over axes."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens import _kernels
from jaxlens._numerics import absolute
from jaxlens.graph._tensor import Tensor, last, tensor
from jaxlens.graph.ops._table import elementwise, float_dtype, op, refuse

Axes = int | Sequence[int] | None
Extremum = collections.namedtuple("Extremum", "values indices")  # what PyTorch's max and min over an axis return


def _reduction(function: Callable[..., jax.Array], *names: str) -> None:
    def reduce(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        axes = input.axes(dim)
        data = input.data if dtype is None else input.data.astype(dtype)
        return input.without(function(data, axis=axes, keepdims=keepdim), axes, keepdim)

    op(*names)(reduce)


_reduction(jnp.sum, "sum")
_reduction(jnp.mean, "mean")
_reduction(jnp.prod, "prod")
_reduction(jnp.max, "amax")
_reduction(jnp.min, "amin")
_reduction(jnp.any, "any")
_reduction(jnp.all, "all")
_reduction(jax.nn.logsumexp, "logsumexp")


def _extremum(whole: Callable[..., Any], arg: Callable[..., Any], pairwise: Callable[..., Any], name: str) -> None:
    def reduce(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        other = dim if isinstance(dim, Tensor) else other
        if not isinstance(input, Tensor):  # Python's own max of sizes
            return pairwise(input, dim)
        if other is not None:
            return elementwise(pairwise, input, other)
        if dim is None or isinstance(dim, Tensor):
            return tensor(whole(input.data))
        axes = input.axes(dim)
        sign = 1 if name == "max" else -1  # the gradient goes to the first of equal ones, as in PyTorch
        floats = jnp.issubdtype(input.dtype, jnp.floating)
        values = sign * _kernels.max_over(sign * input.data, axes[0]) if floats else whole(input.data, axes[0])
        parts = jnp.expand_dims(values, axes[0]) if keepdim else values, arg(input.data, axis=axes[0], keepdims=keepdim)
        return Extremum(*(input.without(part, axes, keepdim) for part in parts))

    op(name)(reduce)

    @op(f"arg{name}")
    def _arg(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        if dim is None:
            return tensor(arg(input.logical.reshape(-1)).reshape((1,) * input.ndim * keepdim))
        axes = input.axes(dim)
        return input.without(arg(input.data, axis=axes[0], keepdims=keepdim), axes, keepdim)


_extremum(jnp.max, jnp.argmax, lambda a, b: max(a, b) if isinstance(a, int) else jnp.maximum(a, b), "max")
_extremum(jnp.min, jnp.argmin, lambda a, b: min(a, b) if isinstance(a, int) else jnp.minimum(a, b), "min")


def _correction(unbiased: bool | None, correction: Any) -> Any:
    if correction is not None:
        return correction
    return 0 if unbiased is False else 1


@op("var")
def _var(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    axes = input.axes(dim)
    ddof = _correction(unbiased, correction)
    return input.without(jnp.var(input.data, axis=axes, ddof=ddof, keepdims=keepdim), axes, keepdim)


@op("std")
def _std(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    return elementwise(_root, _var(input, dim, unbiased, keepdim, correction=correction))


def _root(x: jax.Array) -> jax.Array:
    """Return the square root, with a gradient of 0 at 0.

    PyTorch has it so for norms and standard deviations.
    """
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), jnp.where(x == 0, 0, jnp.nan))


@op("var_mean")
def _var_mean(
    input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: Any = None
) -> Any:
    axes = input.axes(None if isinstance(dim, bool) else dim)
    mean = input.without(jnp.mean(input.data, axis=axes, keepdims=keepdim), axes, keepdim)
    return _var(input, dim, unbiased, keepdim, correction=correction), mean


@op("std_mean")
def _std_mean(*args: Any, **kwargs: Any) -> Any:
    var, mean = _var_mean(*args, **kwargs)
    return elementwise(_root, var), mean


@op("norm", "linalg_vector_norm", "vector_norm")
def _norm(input: Tensor, p: Any = 2, dim: Axes = None, keepdim: bool = False, *, ord: Any = None, dtype: Any = None) -> Tensor:
    p = {"fro": 2, None: 2}.get(p, p) if ord is None else ord
    axes = input.axes(dim)
    x = absolute(input.data.astype(float_dtype(input.data)))
    if p == jnp.inf:
        total = jnp.max(x, axis=axes, keepdims=keepdim)
    elif p == 1:
        total = jnp.sum(x, axis=axes, keepdims=keepdim)
    elif p == 2:
        total = _root(jnp.sum(jnp.square(x), axis=axes, keepdims=keepdim))
    else:
        refuse(not isinstance(p, int | float) or not 1 <= p < float("inf"), f"a norm of order {p!r}; 1 and more are supported")
        powers = jnp.sum(x**p, axis=axes, keepdims=keepdim)
        total = jnp.where(powers == 0, 0, jnp.where(powers == 0, 1, powers) ** (1 / p))
    return input.without(total, axes, keepdim)


@op("normalize")
def _normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    return elementwise(lambda x, n: x / jnp.maximum(n, eps), input, _norm(input, p, dim, True))


@op("cosine_similarity")
def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    ndim = max(x1.ndim, x2.ndim)
    one, other = (_normalize(x.expanded(ndim), 2, dim, eps) for x in (x1, x2))
    product = elementwise(jnp.multiply, one, other)
    axes = product.axes(dim)
    return product.without(product.data.sum(axes), axes, False)


@op("softmax", "_softmax", attention=True)
def _softmax(
    input: Tensor,
    dim: Any = None,
    third: Any = None,
    dtype: Any = None,
    *,
    _stacklevel: int = 3,
    weights_site: Any = lambda function: function,
) -> Tensor:
    """Return the softmax.

    A functional one along the last of three or more axes is taken for attention weights, and named
    so.
    """
    dtype = _softmax_dtype(third, dtype)
    if dim is None:  # PyTorch's old default
        dim = 0 if input.ndim in (0, 1, 3) else 1
    if input.ndim >= 3 and dim in (-1, input.ndim - 1):
        x = input.logical if dtype is None else input.logical.astype(dtype)
        return tensor(weights_site(_kernels.softmax)(x), input.channel)
    order = last(input.ndim, dim)
    data = input.in_order(order) if dtype is None else input.in_order(order).astype(dtype)
    out = Tensor(_kernels.softmax(data), order, input.channel)
    return input.with_data(out.in_order(input.order))


def _softmax_dtype(third: Any, dtype: Any) -> Any:
    """Return the dtype that the third argument means.

    It is the dtype in `torch.softmax`, `_stacklevel` in `F.softmax` and `half_to_float` in ATen's.
    """
    refuse(third is True, "softmax from half to float")
    return third if isinstance(third, jnp.dtype) else dtype


@op("log_softmax", "_log_softmax")
def _log_softmax(input: Tensor, dim: Any = None, third: Any = None, dtype: Any = None, *, _stacklevel: int = 3) -> Tensor:
    dtype = _softmax_dtype(third, dtype)
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    data = input.data if dtype is None else input.data.astype(dtype)
    return input.with_data(jax.nn.log_softmax(data, axis=input.axis(dim)))


@op("cumsum")
def _cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    return input.with_data(jnp.cumsum(input.data, axis=input.axis(dim), dtype=dtype))


@op("topk")
def _topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Extremum:
    order = last(input.ndim, dim)
    data = input.in_order(order)
    values, indices = jax.lax.top_k(data if largest else -data, k)
    return Extremum(Tensor(values if largest else -values, order), Tensor(indices, order))
