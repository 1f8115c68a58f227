"""The layers of the zoo: PyTorch's semantics, with one module for each that PyTorch names.

A new network is abstract: it holds shapes (`jax.ShapeDtypeStruct`), and `modelzoo.load` puts the
weights in, from a file or drawn at random. So building a network costs nothing, and no
initialization is thrown away. A network computes in the dtype of its weights.

A module with parameters says where PyTorch has them: `torch_tensors` maps the last part of
PyTorch's name to the last part of ours and to the order of axes. The path before it is the same on
both sides.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens import _kernels
from jaxlens._params import AS_IT_IS as AS_IT_IS
from jaxlens._params import BATCH_NORM, CONV, LINEAR, NORM, TorchTensors
from jaxlens._params import OI_TO_IO as OI_TO_IO

Size = int | tuple[int, int]


def abstract(*shape: int) -> Any:
    """Return the shape that stands for a parameter until weights are loaded."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class Conv(nnx.Module):
    """PyTorch's `Conv2d`; `padding="SAME"` is TensorFlow's, asymmetric."""

    torch_tensors: ClassVar[TorchTensors] = CONV

    def __init__(
        self, cin: int, cout: int, size: Size, stride: int = 1, padding: Size | str = 0, *, bias: bool = True, groups: int = 1
    ):
        self.kernel = nnx.Param(abstract(*_pair(size), cin // groups, cout))
        self.bias = nnx.Param(abstract(cout)) if bias else None
        self.stride, self.groups = stride, groups
        self.padding = padding if isinstance(padding, str) else tuple((p, p) for p in _pair(padding))

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        x = x.astype(kernel.dtype)
        y = _kernels.conv(x, kernel, stride=(self.stride,) * 2, pads=self.padding, groups=self.groups)
        return y if self.bias is None else y + _kernels.per_channel(self.bias[...], y)


class Linear(nnx.Module):
    """PyTorch's `Linear`."""

    torch_tensors: ClassVar[TorchTensors] = LINEAR

    def __init__(self, cin: int, cout: int, *, bias: bool = True):
        self.kernel = nnx.Param(abstract(cin, cout))
        self.bias = nnx.Param(abstract(cout)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.linear(x, self.kernel[...], None if self.bias is None else self.bias[...])


class BatchNorm(nnx.Module):
    """PyTorch's `BatchNorm2d` at inference: with its running statistics."""

    torch_tensors: ClassVar[TorchTensors] = BATCH_NORM

    def __init__(self, features: int, *, epsilon: float = 1e-5):
        self.scale, self.bias = nnx.Param(abstract(features)), nnx.Param(abstract(features))
        self.mean, self.var = nnx.BatchStat(abstract(features)), nnx.BatchStat(abstract(features))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        scale, bias, mean, var = (v[...] for v in (self.scale, self.bias, self.mean, self.var))
        return _kernels.batch_norm(x, scale, bias, mean, var, epsilon=self.epsilon)


class LayerNorm(nnx.Module):
    """PyTorch's `LayerNorm` over the last axis.

    On maps it is torchvision's `LayerNorm2d` too, because channels are last.
    """

    torch_tensors: ClassVar[TorchTensors] = NORM

    def __init__(self, features: int, *, epsilon: float = 1e-5):
        self.scale, self.bias = nnx.Param(abstract(features)), nnx.Param(abstract(features))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.layer_norm(x, self.scale[...], self.bias[...], epsilon=self.epsilon)


class MaxPool(nnx.Module):
    """PyTorch's `MaxPool2d`; `padding="SAME"` is TensorFlow's, asymmetric."""

    def __init__(self, window: int, stride: int, padding: int | str = 0, *, ceil_mode: bool = False):
        self.window, self.stride, self.padding, self.ceil_mode = _pair(window), _pair(stride), padding, ceil_mode

    def __call__(self, x: jax.Array) -> jax.Array:
        size = (x.shape[1], x.shape[2])
        if isinstance(self.padding, str):
            pads = _kernels.same_pads(size, self.window, self.stride)
        else:
            pads = _kernels.pooled_pads(size, self.window, self.stride, _pair(self.padding), self.ceil_mode)
        return _kernels.max_pool(x, window=self.window, stride=self.stride, pads=pads)


class AvgPool(nnx.Module):
    """PyTorch's `AvgPool2d`; padding counts as zeros."""

    def __init__(self, window: int, stride: int, padding: int = 0):
        self.window, self.stride, self.padding = _pair(window), _pair(stride), _pair(padding)

    def __call__(self, x: jax.Array) -> jax.Array:
        pads = _kernels.pooled_pads((x.shape[1], x.shape[2]), self.window, self.stride, self.padding, False)
        return _kernels.avg_pool(x, window=self.window, stride=self.stride, pads=pads)


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
    """The concatenation of branches along the channels."""

    def __call__(self, branches: list[jax.Array]) -> jax.Array:
        return jnp.concatenate(branches, axis=-1)


class Identity(nnx.Module):
    """A layer that PyTorch names, but that does nothing at inference with channels last."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class Permute(Identity):
    """The identity: PyTorch moves the channels to the end and back; here they are always last."""


class Dropout(Identity):
    """The identity, as dropout is at inference."""


class StochasticDepth(Identity):
    """The identity, as stochastic depth is at inference."""


class Flatten(nnx.Module):
    """PyTorch's `Flatten`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return flatten(x)


class Sequential(nnx.Module):
    """Layers in a row, named "0", "1", ... as in PyTorch's `Sequential`, or as given."""

    def __init__(self, *layers: nnx.Module, **named: nnx.Module):
        layers_by_name = {str(i): layer for i, layer in enumerate(layers)} | named
        self.names = tuple(layers_by_name)
        for name, layer in layers_by_name.items():
            setattr(self, name, layer)

    def __call__(self, x: jax.Array) -> jax.Array:
        for name in self.names:
            x = getattr(self, name)(x)
        return x


def flatten(x: jax.Array) -> jax.Array:
    """Flatten `[B, H, W, C]` to `[B, C*H*W]`, in PyTorch's order, so that its weights fit."""
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
