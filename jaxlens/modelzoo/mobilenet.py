"""MobileNet V2 and V3, with torchvision's layer names.

V2: Sandler et al. 2018, arXiv:1801.04381. V3: Howard et al. 2019, arXiv:1905.02244. As in
torchvision, V2's average before the classifier has no name.
"""

import functools

import jax
from flax import nnx

from jaxlens.modelzoo._activations import Hardsigmoid, Hardswish, ReLU, ReLU6
from jaxlens.modelzoo._blocks import ConvNormActivation, MakeLayer, SqueezeExcitation, conv_norm, divisible
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Dropout, Linear, Sequential, flatten

# V2, per stage: expansion, channels, blocks, stride of the first.
STAGES_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

# V3, per block: size of the kernel, expanded channels, channels, squeeze and excitation,
# activation, stride.
BLOCKS_V3 = {
    "small": (
        (3, 16, 16, True, ReLU, 2),
        (3, 72, 24, False, ReLU, 2),
        (3, 88, 24, False, ReLU, 1),
        (5, 96, 40, True, Hardswish, 2),
        (5, 240, 40, True, Hardswish, 1),
        (5, 240, 40, True, Hardswish, 1),
        (5, 120, 48, True, Hardswish, 1),
        (5, 144, 48, True, Hardswish, 1),
        (5, 288, 96, True, Hardswish, 2),
        (5, 576, 96, True, Hardswish, 1),
        (5, 576, 96, True, Hardswish, 1),
    ),
    "large": (
        (3, 16, 16, False, ReLU, 1),
        (3, 64, 24, False, ReLU, 2),
        (3, 72, 24, False, ReLU, 1),
        (5, 72, 40, True, ReLU, 2),
        (5, 120, 40, True, ReLU, 1),
        (5, 120, 40, True, ReLU, 1),
        (3, 240, 80, False, Hardswish, 2),
        (3, 200, 80, False, Hardswish, 1),
        (3, 184, 80, False, Hardswish, 1),
        (3, 184, 80, False, Hardswish, 1),
        (3, 480, 112, True, Hardswish, 1),
        (3, 672, 112, True, Hardswish, 1),
        (5, 672, 160, True, Hardswish, 2),
        (5, 960, 160, True, Hardswish, 1),
        (5, 960, 160, True, Hardswish, 1),
    ),
}
HEAD_V3 = {"small": 1024, "large": 1280}


class InvertedResidualV2(nnx.Module):
    """1x1 to more channels, depthwise 3x3, and linear 1x1; a shortcut where the shape stays."""

    def __init__(self, cin: int, cout: int, expansion: int, stride: int):
        wide = cin * expansion
        expand = [ConvNormActivation(cin, wide, 1, activation=ReLU6)] if expansion > 1 else []
        depthwise = ConvNormActivation(wide, wide, 3, stride, groups=wide, activation=ReLU6)
        self.conv = Sequential(*expand, depthwise, *conv_norm(wide, cout, 1, activation=None))
        self.shortcut = stride == 1 and cin == cout

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nnx.Module):
    """MobileNet V2 of width 1."""

    def __init__(self, *, num_classes: int = 1000):
        layers: list[nnx.Module] = [ConvNormActivation(3, 32, 3, 2, activation=ReLU6)]
        cin = 32
        for expansion, cout, blocks, stride in STAGES_V2:
            for i in range(blocks):
                layers.append(InvertedResidualV2(cin, cout, expansion, 1 if i else stride))
                cin = cout
        self.features = Sequential(*layers, ConvNormActivation(cin, 1280, 1, activation=ReLU6))
        self.classifier = Sequential(Dropout(), Linear(1280, num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(self.features(x).mean((1, 2)))


class InvertedResidualV3(nnx.Module):
    """V2's block with other activations and kernels.

    Squeeze and excitation may follow the depthwise convolution.
    """

    def __init__(self, cin: int, size: int, wide: int, cout: int, excite: bool, activation: MakeLayer, stride: int):
        layers: list[nnx.Module] = []
        if wide != cin:
            layers.append(ConvNormActivation(cin, wide, 1, epsilon=1e-3, activation=activation))
        layers.append(ConvNormActivation(wide, wide, size, stride, groups=wide, epsilon=1e-3, activation=activation))
        if excite:
            layers.append(SqueezeExcitation(wide, divisible(wide // 4), scale_activation=Hardsigmoid))
        self.block = Sequential(*layers, ConvNormActivation(wide, cout, 1, epsilon=1e-3, activation=None))
        self.shortcut = stride == 1 and cin == cout

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.block(x) if self.shortcut else self.block(x)


class MobileNetV3(nnx.Module):
    """MobileNet V3 of `size` "small" or "large"."""

    def __init__(self, size: str, *, num_classes: int = 1000):
        layers: list[nnx.Module] = [ConvNormActivation(3, 16, 3, 2, epsilon=1e-3, activation=Hardswish)]
        cin = 16
        for kernel, wide, cout, excite, activation, stride in BLOCKS_V3[size]:
            layers.append(InvertedResidualV3(cin, kernel, wide, cout, excite, activation, stride))
            cin = cout
        self.features = Sequential(*layers, ConvNormActivation(cin, 6 * cin, 1, epsilon=1e-3, activation=Hardswish))
        self.avgpool, head = AdaptiveAvgPool(1, 1), HEAD_V3[size]
        self.classifier = Sequential(Linear(6 * cin, head), Hardswish(), Dropout(), Linear(head, num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(flatten(self.avgpool(self.features(x))))


NETWORKS = {"mobilenet_v2": MobileNetV2} | {f"mobilenet_v3_{size}": functools.partial(MobileNetV3, size) for size in BLOCKS_V3}
