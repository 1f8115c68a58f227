"""The layers the zoo is built of: PyTorch's semantics, one module for each that PyTorch names.

Networks are born abstract: a new module holds shapes (`jax.ShapeDtypeStruct`), and `modelzoo.load` puts the weights in,
from a file or drawn at random. So building a network costs nothing, and no initialisation is thrown away.
A network computes in the dtype of its weights.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxlens.modelzoo import _kernels


def _abstract(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """One value per channel, with the axes of `x`."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


class Conv(nnx.Module):
    """PyTorch's `Conv2d`, square; `padding="SAME"` is TensorFlow's, asymmetric."""

    def __init__(self, cin: int, cout: int, size: int, stride: int = 1, padding: int | str = 0, *, bias: bool = True):
        self.kernel = nnx.Param(_abstract(size, size, cin, cout))
        self.bias = nnx.Param(_abstract(cout)) if bias else None
        self.stride = stride
        self.padding = padding if isinstance(padding, str) else ((padding, padding),) * 2

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        x = x.astype(kernel.dtype)
        if kernel.shape[:2] == (1, 1) and self.stride == 1 and self.padding in ("SAME", ((0, 0), (0, 0))):
            y = _kernels.conv1x1(x, kernel)
        else:
            y = lax.conv_general_dilated(
                x, kernel, (self.stride,) * 2, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        return y if self.bias is None else y + _per_channel(self.bias[...], y)


class Linear(nnx.Module):
    """PyTorch's `Linear`."""

    def __init__(self, cin: int, cout: int):
        self.kernel = nnx.Param(_abstract(cin, cout))
        self.bias = nnx.Param(_abstract(cout))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.astype(self.kernel.dtype) @ self.kernel[...]
        return y + _per_channel(self.bias[...], y)


class BatchNorm(nnx.Module):
    """PyTorch's `BatchNorm2d` at inference: with its running statistics."""

    def __init__(self, features: int, *, epsilon: float = 1e-5):
        self.scale, self.bias = nnx.Param(_abstract(features)), nnx.Param(_abstract(features))
        self.mean, self.var = nnx.BatchStat(_abstract(features)), nnx.BatchStat(_abstract(features))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        gain = self.scale[...] * lax.rsqrt(self.var[...] + self.epsilon)
        x = x.astype(gain.dtype) - _per_channel(self.mean[...], x)
        return x * _per_channel(gain, x) + _per_channel(self.bias[...], x)


class ReLU(nnx.Module):
    """`max(x, 0)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x)


class MaxPool(nnx.Module):
    """PyTorch's `MaxPool2d`; `padding="SAME"` is TensorFlow's, asymmetric."""

    def __init__(self, window: int, stride: int, padding: int | str = 0, *, ceil_mode: bool = False):
        self.window, self.stride, self.padding, self.ceil_mode = window, stride, padding, ceil_mode

    def __call__(self, x: jax.Array) -> jax.Array:
        size = (x.shape[1], x.shape[2])
        if isinstance(self.padding, str):
            pads = _kernels.same_pads(size, self.window, self.stride)
        else:
            pads = _kernels.pooled_pads(size, self.window, self.stride, self.padding, self.ceil_mode)
        return _kernels.max_pool(x, window=self.window, stride=self.stride, pads=pads)


class AdaptiveAvgPool(nnx.Module):
    """PyTorch's `AdaptiveAvgPool2d`."""

    def __init__(self, height: int, width: int):
        self.size = (height, width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.adaptive_avg_pool(x, self.size)


class LocalResponseNorm(nnx.Module):
    """TensorFlow's `lrn`; see `_kernels.local_response_norm`."""

    def __init__(self, *, radius: int, bias: float, alpha: float, beta: float):
        self.radius, self.bias, self.alpha, self.beta = radius, bias, alpha, beta

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.local_response_norm(x, radius=self.radius, bias=self.bias, alpha=self.alpha, beta=self.beta)


class Concat(nnx.Module):
    """Branches side by side, along the channels."""

    def __call__(self, branches: list[jax.Array]) -> jax.Array:
        return jnp.concatenate(branches, axis=-1)


class Dropout(nnx.Module):
    """The identity, as dropout is at inference; kept because PyTorch gives it a name."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class Softmax(nnx.Module):
    """Logits to probabilities."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.softmax(x)


class Sequential(nnx.Module):
    """Layers in a row, named "0", "1", ... as in PyTorch's `Sequential`."""

    def __init__(self, *layers: nnx.Module):
        self.length = len(layers)
        for i, layer in enumerate(layers):
            setattr(self, str(i), layer)

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.length):
            x = getattr(self, str(i))(x)
        return x


def flatten(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` to `[B, C*H*W]`, in PyTorch's order, so that its weights fit as they are."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
