"""One number at a time: arithmetic, comparisons, activations."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxlens import _kernels
from jaxlens._numerics import absolute
from jaxlens.graph._tensor import Tensor
from jaxlens.graph.ops._table import OPS, elementwise, op, refuse


def _unary(function: Callable[..., Any], *names: str) -> None:
    def apply(input: Any, *, inplace: bool = False, out: None = None) -> Any:
        return elementwise(function, input)

    op(*names)(apply)


for _name in ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "floor", "ceil", "expm1", "log1p", "log2", "log10"):
    _unary(getattr(jnp, _name), _name)
for _name in ("atan", "asin", "acos", "sinh", "cosh", "square", "reciprocal", "isnan", "isinf", "isfinite", "logical_not"):
    _unary(getattr(jnp, {"atan": "arctan", "asin": "arcsin", "acos": "arccos"}.get(_name, _name)), _name)
_unary(operator.neg, "neg", "negative")
_unary(lambda x: absolute(x) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.abs(x), "abs", "absolute")
_unary(lambda x: jnp.where(x != x, 0, jnp.sign(x)), "sign")  # of NaN 0, as in PyTorch
_unary(jnp.trunc, "trunc", "fix")
_unary(jnp.exp2, "exp2")
_unary(lambda x: x - jnp.trunc(x), "frac")
_unary(jnp.invert, "bitwise_not", "invert")
_unary(lax.rsqrt, "rsqrt")
_unary(jax.scipy.special.erf, "erf")
_unary(jax.nn.relu, "relu")
_unary(jax.nn.relu6, "relu6")
_unary(jax.nn.sigmoid, "sigmoid")
_unary(jax.nn.silu, "silu")
_unary(jax.nn.mish, "mish")
_unary(jax.nn.log_sigmoid, "logsigmoid", "log_sigmoid")
_unary(jax.nn.soft_sign, "softsign")
_unary(jax.nn.selu, "selu")
_unary(_kernels.hardswish, "hardswish")
_unary(_kernels.hardsigmoid, "hardsigmoid")
_unary(lambda x: x - jnp.tanh(x), "tanhshrink")


def _binary(function: Callable[..., Any], *names: str) -> None:
    op(*names)(lambda input, other, *, out=None: elementwise(function, input, other))


_binary(operator.mul, "mul", "multiply")
_binary(lambda x, n: _power(x, n), "pow")
_binary(operator.floordiv, "floordiv", "floor_divide")
_binary(operator.mod, "mod", "remainder")
_binary(operator.eq, "eq")
_binary(operator.ne, "ne", "not_equal")
_binary(operator.lt, "lt", "less")
_binary(operator.le, "le", "less_equal")
_binary(operator.gt, "gt", "greater")
_binary(operator.ge, "ge", "greater_equal")
_binary(operator.and_, "and_", "and", "bitwise_and")
_binary(operator.or_, "or_", "or", "bitwise_or")
_binary(jnp.logical_and, "logical_and")
_binary(jnp.logical_or, "logical_or")
_binary(jnp.maximum, "maximum")
_binary(jnp.minimum, "minimum")
_binary(lambda y, x: _angle(y, x), "atan2")
_binary(jnp.fmod, "fmod")
_binary(jnp.logical_xor, "logical_xor")
_binary(lambda x, y: jnp.where(x != x, y, jnp.where(y != y, x, jnp.maximum(x, y))), "fmax")
_binary(lambda x, y: jnp.where(x != x, y, jnp.where(y != y, x, jnp.minimum(x, y))), "fmin")
_binary(jnp.logaddexp, "logaddexp")
_binary(jnp.logaddexp2, "logaddexp2")


def _power(x: Any, n: Any) -> Any:
    """Raise to a power, with a gradient of 0 where the power is 0, also at 0, as in PyTorch."""
    if not isinstance(n, jax.Array):
        return jnp.ones_like(x) if isinstance(x, jax.Array) and n == 0 else x**n
    return x**n if not isinstance(x, jax.Array) else jnp.where(n == 0, lax.stop_gradient(x), x) ** n


def _angle(y: Any, x: Any) -> jax.Array:
    """Return the angle of a point, with a gradient of 0 at the origin, as in PyTorch."""
    origin = (x == 0) & (y == 0)
    return jnp.where(
        origin, lax.stop_gradient(jnp.arctan2(y, x)), jnp.arctan2(jnp.where(origin, 0, y), jnp.where(origin, 1, x))
    )


@op("add")
def _add(input: Any, other: Any, alpha: float = 1, *, out: None = None) -> Any:
    if isinstance(input, tuple):  # sizes: x.shape[:2] + (3,)
        return input + tuple(other)
    return elementwise(lambda a, b: a + b if alpha == 1 else a + alpha * b, input, other)


@op("sub", "subtract")
def _sub(input: Any, other: Any, alpha: float = 1, *, out: None = None) -> Any:
    return elementwise(lambda a, b: a - b if alpha == 1 else a - alpha * b, input, other)


@op("rsub")
def _rsub(input: Any, other: Any, alpha: float = 1) -> Any:
    return _sub(other, input, alpha=alpha)


@op("div", "truediv", "true_divide", "divide")
def _div(input: Any, other: Any, *, rounding_mode: str | None = None, out: None = None) -> Any:
    if rounding_mode is None:
        return elementwise(operator.truediv, input, other)
    if rounding_mode == "floor":  # not floor(a / b): 1 // 0.1 is 9, and quotients of large integers are exact
        return elementwise(jnp.floor_divide, input, other)
    return elementwise(_truncated, input, other)


def _truncated(a: Any, b: Any) -> jax.Array:
    dtype = jnp.result_type(a, b)
    if jnp.issubdtype(dtype, jnp.integer):
        return lax.div(*jnp.broadcast_arrays(jnp.asarray(a, dtype), jnp.asarray(b, dtype)))
    return jnp.trunc(a / b)


@op("addcmul")
def _addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return elementwise(lambda x, a, b: x + value * a * b, input, tensor1, tensor2)


@op("addcdiv")
def _addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    return elementwise(lambda x, a, b: x + value * a / b, input, tensor1, tensor2)


@op("lerp")
def _lerp(input: Any, end: Any, weight: Any) -> Any:
    return elementwise(lambda a, b, w: a + w * (b - a), input, end, weight)


@op("clamp", "clip")
def _clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    low, high = min, max
    if not isinstance(input, Tensor) or not jnp.issubdtype(input.dtype, jnp.inexact):  # sizes, integers
        input = input if low is None else elementwise(jnp.maximum, input, low)
        return input if high is None else elementwise(jnp.minimum, input, high)
    # relu6 and relu by their own names, so that gradient rules see them
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        if low == 0 and high in (None, 6):
            return elementwise(jax.nn.relu if high is None else jax.nn.relu6, input)
        low, high = (-jnp.inf if low is None else low), (jnp.inf if high is None else high)
        return elementwise(lambda x: lax.clamp(jnp.asarray(low, x.dtype), x, jnp.asarray(high, x.dtype)), input)
    if low is None or high is None:
        return elementwise(jnp.minimum if low is None else jnp.maximum, input, high if low is None else low)
    return elementwise(_clamped, input, low, high)


def _clamped(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Clamp between two tensors. At a bound PyTorch shares the gradient, except for one number."""
    one = jnp.where(x < low, low, jnp.where(x > high, high, x))
    return jnp.where(low == high, one, jnp.minimum(jnp.maximum(x, low), high))


@op("hardtanh")
def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    return _clamp(input, min_val, max_val)


@op("clamp_min")
def _clamp_min(input: Any, min: Any) -> Any:
    return _clamp(input, min)


@op("clamp_max")
def _clamp_max(input: Any, max: Any) -> Any:
    return _clamp(input, None, max)


@op("gelu")
def _gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    return elementwise(lambda x: _kernels.gelu(x, approximate=approximate == "tanh"), input)


@op("glu")
def _glu(input: Tensor, dim: int = -1) -> Tensor:
    axis = input.axis(dim)
    value, gate = jnp.split(input.data, 2, axis)
    return input.with_data(value * jax.nn.sigmoid(gate))


@op("leaky_relu")
def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return elementwise(lambda x: jnp.where(x > 0, x, negative_slope * x), input)


@op("rrelu")
def _rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Tensor:
    refuse(training, "rrelu in training mode: random numbers in the forward pass. Call module.eval()")
    return _leaky_relu(input, (lower + upper) / 2)


@op("elu")
def _elu(input: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    refuse(isinstance(scale, bool), "elu with inplace as an argument by place")
    # the scales are ATen's, for selu; expm1 of what is not positive only, as its gradient overflows
    return elementwise(lambda x: scale * jnp.where(x > 0, x, alpha * jnp.expm1(input_scale * jnp.where(x > 0, 0, x))), input)


@op("celu")
def _celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    return elementwise(lambda x: jax.nn.celu(x, alpha), input)


@op("softplus")
def _softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    def softplus(x: jax.Array) -> jax.Array:
        return jnp.where(x * beta > threshold, x, jax.nn.softplus(beta * x) / beta)

    return elementwise(softplus, input)


@op("threshold")
def _threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    return elementwise(lambda x: jax.nn.relu(x) if threshold == value == 0 else jnp.where(x <= threshold, value, x), input)


@op("hardshrink")
def _hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return elementwise(lambda x: jnp.where(jnp.abs(x) <= lambd, 0, x), input)


@op("softshrink")
def _softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return elementwise(lambda x: jnp.where(jnp.abs(x) <= lambd, 0, x - lambd * jnp.sign(x)), input)


@op("prelu")
def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    per_channel = weight if weight.data.size == 1 else weight.reshaped((-1, *(1,) * max(input.ndim - 2, 0)))
    return elementwise(lambda x, w: jnp.where(x > 0, x, w * x), input, per_channel)


@op("where")
def _where(condition: Any, input: Any, other: Any) -> Any:
    refuse(isinstance(condition, Tensor) and condition.dtype != bool, "where with a condition that is not of bools")
    return elementwise(jnp.where, condition, input, other)


@op("masked_fill")
def _masked_fill(input: Any, mask: Any, value: Any) -> Any:
    return elementwise(lambda x, m, v: jnp.where(m, jnp.asarray(v, x.dtype), x), input, mask, value)


@op("round")
def _round(input: Any, *, decimals: int = 0) -> Any:
    return elementwise(lambda x: jnp.round(x, decimals), input)


@op("nan_to_num")
def _nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    return elementwise(lambda x: jnp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf), input)


@op("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d")
def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, train: bool = True) -> Tensor:
    refuse(training and train and p > 0, "dropout in training mode: random numbers in the forward pass. Call module.eval()")
    return input


@op("stochastic_depth")  # torchvision.ops
def _stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    return _dropout(input, p, training)


@op("detach")
def _detach(input: Any) -> Any:
    """Stop the gradient of any result of an operator, as for code under `torch.no_grad`."""
    if isinstance(input, Tensor):
        return input.with_data(lax.stop_gradient(input.data))
    if not isinstance(input, tuple):
        return input
    parts = map(_detach, input)
    return type(input)(*parts) if hasattr(input, "_fields") else tuple(parts)  # type: ignore[call-arg]


@op("contiguous", "clone", "alias", "lift_fresh_copy")
def _same(input: Any, *, memory_format: Any = None) -> Any:
    return input


def _cast(*names: str, dtype: Any) -> None:
    op(*names)(lambda input: _to(input, dtype=jnp.dtype(dtype)))


_cast("float", "double", dtype=jnp.float32)  # float64 is float32 everywhere here
_cast("half", dtype=jnp.float16)
_cast("bfloat16", dtype=jnp.bfloat16)
_cast("bool", dtype=bool)


@op("long", "int")
def _int(input: Any) -> Any:
    return _to(input, dtype=jnp.dtype(jnp.int32)) if isinstance(input, Tensor) else int(input)


@op("to", "_to_copy", "type_as", "type")
def _to(input: Tensor, *what: Any, dtype: Any = None, copy: bool = False) -> Tensor:
    for each in what:
        dtype = each.dtype if isinstance(each, Tensor) else each if isinstance(each, jnp.dtype) else dtype
    if dtype is None:
        return input
    narrow = dtype.kind in "iu" and dtype.itemsize < 4  # 300 as uint8 is 44 in PyTorch, where JAX would clip it to 255
    return elementwise(lambda x: (x.astype(jnp.int32) if narrow else x).astype(dtype), input)


OPS["sym_float"], OPS["sym_int"] = float, int
