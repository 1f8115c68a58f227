"""Convolutions, linear maps, normalizations and pools."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxlens import _kernels
from jaxlens._numerics import absolute
from jaxlens.graph._tensor import Tensor, last, maps, tensor
from jaxlens.graph.ops._table import OPS, elementwise, op, pair, refuse


@op("conv1d", "conv2d", "conv3d")
def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    axes = weight.ndim - 2
    refuse(input.ndim != axes + 2, f"conv{axes}d of one example without a batch axis")
    stride, dilation = pair(stride, axes), pair(dilation, axes)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = [(p, p) for p in pair(0 if padding == "valid" else padding, axes)]
    kernel = weight.in_order((*range(2, 2 + axes), 1, 0))
    x = input.channels_last.astype(kernel.dtype)
    y = _kernels.conv(x, kernel, stride=stride, pads=pads, dilation=dilation, groups=groups)
    return maps(y if bias is None else y + _kernels.per_channel(bias.data, y))


@op("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    axes = weight.ndim - 2
    refuse(input.ndim != axes + 2, f"conv_transpose{axes}d of one example without a batch axis")
    cin, cout, *size = weight.shape
    split = weight.reshaped((groups, cin // groups, cout, *size))
    kernel = split.in_order((*range(3, 3 + axes), 1, 0, 2)).reshape(*size, cin // groups, groups * cout)
    y = _kernels.conv_transpose(
        input.channels_last.astype(kernel.dtype),
        kernel,
        stride=pair(stride, axes),
        padding=pair(padding, axes),
        output_padding=pair(output_padding, axes),
        dilation=pair(dilation, axes),
        groups=groups,
    )
    return maps(y if bias is None else y + _kernels.per_channel(bias.data, y))


@op("convolution")  # ATen's, of all kinds
def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    if transposed:
        return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv(input, weight, bias, stride, padding, dilation, groups)


@op("linear")
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    order = last(input.ndim, -1)
    y = _kernels.linear(input.in_order(order), weight.in_order((1, 0)), None if bias is None else bias.data)
    return Tensor(y, order, input.ndim - 1)


@op("bilinear")
def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y = jnp.einsum("...i,oij,...j->...o", input1.logical, weight.logical, input2.logical)
    return tensor(y if bias is None else y + _kernels.per_channel(bias.data, y), y.ndim - 1)


@op("batch_norm")
def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    order = last(input.ndim, 1)
    x = input.in_order(order)
    mean, var, scale, shift = (None if p is None else p.logical for p in (running_mean, running_var, weight, bias))
    if training or mean is None or var is None:
        # Statistics of the batch: weight standardization, and batch norms without running ones.
        # An image would depend on the others of its batch.
        refuse(input.shape[0] != 1, "batch norm with statistics of the batch: what an image gives would depend on the others")
        axes = tuple(range(x.ndim - 1))
        mean, var = x.mean(axes), x.var(axes)
    return Tensor(_kernels.batch_norm(x, scale, shift, mean, var, epsilon=eps), order, 1)


@op("_native_batch_norm_legit_no_training")
def _native_batch_norm(
    input: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Tensor]:
    return (_batch_norm(input, mean, var, weight, bias, eps=eps),)


@op("_native_batch_norm_legit")  # without running statistics
def _native_batch_norm_of_batch(
    input: Tensor, weight: Any, bias: Any, training: bool, momentum: float, eps: float, *more: Any
) -> tuple[Tensor]:
    refuse(more, "batch norm that updates its running statistics: call module.eval()")
    return (_batch_norm(input, None, None, weight, bias, training=True, eps=eps),)


@op("_weight_norm")
def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    axes = tuple(axis for axis in range(v.ndim) if axis != dim % v.ndim)
    norm = jnp.sqrt(jnp.square(v.logical).sum(axes, keepdims=True))
    return tensor(v.logical * (g.logical / norm))


@op("layer_norm")
def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    axes = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    order = last(input.ndim, -1) if axes == 1 else tuple(range(input.ndim))
    scale, shift = (None if p is None else p.logical for p in (weight, bias))
    channel = input.ndim - 1 if axes == 1 else input.channel
    return Tensor(_kernels.layer_norm(input.in_order(order), scale, shift, epsilon=eps, axes=axes), order, channel)


@op("rms_norm")
def _rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    x = input.logical
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    y = x / jnp.sqrt(jnp.square(x).mean(axes, keepdims=True) + eps)
    y = tensor(y, input.channel)
    return y if weight is None else elementwise(jnp.multiply, y, weight)


@op("group_norm")
def _group_norm(
    input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Tensor:
    scale, shift = (None if p is None else p.logical for p in (weight, bias))
    return maps(_kernels.group_norm(input.channels_last, scale, shift, groups=num_groups, epsilon=eps))


@op("instance_norm")
def _instance_norm(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    if use_input_stats:
        return _group_norm(input, input.shape[1], weight, bias, eps)
    return _batch_norm(input, running_mean, running_var, weight, bias, eps=eps)


@op("local_response_norm")
def _local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    refuse(size % 2 == 0, "local_response_norm of an even size")
    x = input.channels_last
    return maps(_kernels.local_response_norm(x, radius=size // 2, bias=k, alpha=alpha / size, beta=beta))


def _plane(input: Tensor, axes: int) -> Tensor:
    """Add a second axis of space, so that pools are over planes."""
    refuse(input.ndim != axes + 2, f"a pool over {axes} axes of one example without a batch axis")
    return input if axes == 2 else maps(input.channels_last[:, None])


def _line(output: Tensor, axes: int) -> Tensor:
    return output if axes == 2 else maps(output.data[:, 0])


def _max_pool(axes: int) -> Any:
    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        refuse(return_indices, "max_pool with return_indices")
        x = _plane(input, axes).channels_last
        window, pads, spread = (_both(n, axes, one) for n, one in ((kernel_size, 1), (padding, 0), (dilation, 1)))
        steps = window if stride is None or stride == () else _both(stride, axes, 1)
        amounts = _kernels.pooled_pads((x.shape[1], x.shape[2]), window, steps, pads, ceil_mode, spread)
        return _line(maps(_kernels.max_pool(x, window=window, stride=steps, pads=amounts, dilation=spread)), axes)

    return pool


def _avg_pool(axes: int) -> Any:
    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        x = _plane(input, axes).channels_last
        window, pads = _both(kernel_size, axes, 1), _both(padding, axes, 0)
        steps = window if stride is None or stride == () else _both(stride, axes, 1)
        amounts = _kernels.pooled_pads((x.shape[1], x.shape[2]), window, steps, pads, ceil_mode)
        counted = [(p, p) if count_include_pad else (0, 0) for p in pads]
        count = None if count_include_pad and not ceil_mode else (counted[0], counted[1])
        y = _kernels.avg_pool(x, window=window, stride=steps, pads=amounts, count=count, divisor=divisor_override)
        return _line(maps(y), axes)

    return pool


def _both(value: Any, axes: int, one: int) -> Any:
    return pair(value) if axes == 2 else (one, pair(value, 1)[0])


for _axes in (1, 2):
    op(f"max_pool{_axes}d", f"_max_pool{_axes}d")(_max_pool(_axes))
    op(f"avg_pool{_axes}d")(_avg_pool(_axes))


def _volume(input: Tensor, pool: Callable[..., Tensor], *sizes: tuple[int, ...]) -> Tensor:
    """Pool over three axes: over the planes first, then along the first axis.

    Maxima and means separate in this way.
    """
    refuse(input.ndim != 5, "a pool over 3 axes of one example without a batch axis")
    b, c, t, h, w = input.shape
    planes = pool(input.permuted((0, 2, 1, 3, 4)).reshaped((b * t, c, h, w)), *(size[1:] for size in sizes))
    h, w = planes.shape[2:]
    lines = planes.reshaped((b, t, c, h * w)).permuted((0, 2, 1, 3))
    return pool(lines, *((size[0], one) for size, one in zip(sizes, (1, 1, 0, 1), strict=False))).reshaped((b, c, -1, h, w))


@op("max_pool3d")
def _max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    refuse(return_indices, "max_pool with return_indices")
    sizes = (pair(n, 3) for n in (kernel_size, stride or kernel_size, padding, dilation))
    return _volume(input, lambda x, *sizes: _max_pool(2)(x, *sizes, ceil_mode), *sizes)


@op("avg_pool3d")
def _avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    refuse(divisor_override, "avg_pool3d with divisor_override")
    sizes = (pair(n, 3) for n in (kernel_size, stride or kernel_size, padding))
    return _volume(input, lambda x, *sizes: _avg_pool(2)(x, *sizes, ceil_mode, count_include_pad), *sizes)


@op("max_pool2d_with_indices")
def _max_pool2d_with_indices(*args: Any, **kwargs: Any) -> tuple[Tensor]:
    return (_max_pool(2)(*args, **kwargs),)


def _lp_pool(axes: int) -> Any:
    def pool(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
        if norm_type == math.inf:
            return OPS[f"max_pool{axes}d"](elementwise(absolute, input), kernel_size, stride, 0, 1, ceil_mode)
        mean = OPS[f"avg_pool{axes}d"](elementwise(lambda x: x**norm_type, input), kernel_size, stride, 0, ceil_mode)
        count = math.prod(pair(kernel_size, axes))

        def root(x: jax.Array) -> jax.Array:
            """Take the root, with a gradient of 0 at 0, as in PyTorch."""
            return jnp.where(x == 0, 0, (jnp.where(x == 0, 1, x) * count) ** (1 / norm_type))

        return elementwise(root, mean)

    return pool


for _axes in (1, 2, 3):
    op(f"lp_pool{_axes}d")(_lp_pool(_axes))


@op("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    x = _plane(input, 2).channels_last
    sizes = [n if want is None else want for n, want in zip(x.shape[1:3], pair_or_none(output_size), strict=True)]
    return maps(_kernels.adaptive_avg_pool(x, sizes))


@op("adaptive_avg_pool1d")
def _adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    x = _plane(input, 1).channels_last
    return maps(_kernels.adaptive_avg_pool(x, (1, pair(output_size, 1)[0]))[:, 0])


def _adaptive_max_pool(axes: int) -> Any:
    def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
        refuse(return_indices, "adaptive_max_pool with return_indices")
        return maps(_kernels.adaptive_max_pool(input.channels_last, _adaptive_sizes(input, output_size, axes)))

    return pool


for _axes in (1, 2, 3):
    op(f"adaptive_max_pool{_axes}d")(_adaptive_max_pool(_axes))


@op("adaptive_avg_pool3d", "_adaptive_avg_pool3d")
def _adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    x = input.channels_last
    for axis, m in enumerate(_adaptive_sizes(input, output_size, 3), 1):
        n = x.shape[axis]
        bins = [lax.slice_in_dim(x, i * n // m, -(-(i + 1) * n // m), axis=axis).mean(axis) for i in range(m)]
        x = jnp.stack(bins, axis)
    return maps(x)


def _adaptive_sizes(input: Tensor, output_size: Any, axes: int) -> list[int]:
    refuse(input.ndim != axes + 2, f"a pool over {axes} axes of one example without a batch axis")
    return [n if want is None else want for n, want in zip(input.shape[2:], pair_or_none(output_size, axes), strict=True)]


def pair_or_none(value: Any, axes: int = 2) -> tuple[Any, ...]:
    """Return a size for each axis; None keeps the input's."""
    return (value,) * axes if value is None or isinstance(value, int) else tuple(value)
