"""Blocks that several of torchvision's families share."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxlens.model import Preprocess
from jaxlens.modelzoo._activations import ReLU, Sigmoid
from jaxlens.modelzoo._layers import AdaptiveAvgPool, BatchNorm, Conv, Sequential, Size

MakeLayer = Callable[[], nnx.Module]

# From images that are normalized with ImageNet's means and deviations to those with 0.5 and 0.5.
IMAGENET_TO_HALVES = Preprocess((0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5), (-0.015 / 0.5, -0.044 / 0.5, -0.094 / 0.5))


def conv_norm(
    cin: int,
    cout: int,
    size: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    epsilon: float = 1e-5,
    activation: MakeLayer | None = ReLU,
) -> list[nnx.Module]:
    """Return a convolution without bias, its batch norm and its activation, unless that is None.

    At stride 1 the convolution keeps the size of maps.
    """
    conv = Conv(cin, cout, size, stride, size // 2, bias=False, groups=groups)
    return [conv, BatchNorm(cout, epsilon=epsilon), *([activation()] if activation else [])]


class ConvNormActivation(Sequential):
    """`conv_norm` as a layer of its own; `options` are its keywords."""

    def __init__(self, cin: int, cout: int, size: int = 3, stride: int = 1, **options: Any):
        super().__init__(*conv_norm(cin, cout, size, stride, **options))


class BasicConv(nnx.Module):
    """The Inceptions' convolution, with a batch norm and a ReLU without a name behind it.

    The padding is half the kernel by default.
    """

    def __init__(self, cin: int, cout: int, size: Size, stride: int = 1, padding: Size | None = None):
        if padding is None:
            padding = size // 2 if isinstance(size, int) else (size[0] // 2, size[1] // 2)
        self.conv = Conv(cin, cout, size, stride, padding, bias=False)
        self.bn = BatchNorm(cout, epsilon=1e-3)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(self.bn(self.conv(x)))


class SqueezeExcitation(nnx.Module):
    """Scale each channel by a factor that two 1x1 convolutions compute from the means of the maps.

    Between the two there are `squeeze` channels.
    """

    def __init__(self, features: int, squeeze: int, *, activation: MakeLayer = ReLU, scale_activation: MakeLayer = Sigmoid):
        self.avgpool = AdaptiveAvgPool(1, 1)
        self.fc1, self.activation = Conv(features, squeeze, 1), activation()
        self.fc2, self.scale_activation = Conv(squeeze, features, 1), scale_activation()

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


def divisible(width: float, divisor: int = 8) -> int:
    """Round `width` to a multiple of `divisor`, half up, but never down by more than a tenth."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * width else rounded + divisor
