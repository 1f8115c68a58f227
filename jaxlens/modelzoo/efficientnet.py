"""EfficientNet B0 to B7 and V2, with torchvision's layer names.

B0 to B7: Tan & Le 2019, arXiv:1905.11946. V2: Tan & Le 2021, arXiv:2104.00298.
"""

import functools
import math
from typing import NamedTuple

import jax
from flax import nnx

from jaxlens.modelzoo._activations import SiLU
from jaxlens.modelzoo._blocks import ConvNormActivation, SqueezeExcitation, divisible
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Dropout, Linear, Sequential, StochasticDepth, flatten


class _Residual(nnx.Module):
    """The base of both kinds of block: a shortcut where the shape stays."""

    def _build(self, cin: int, cout: int, stride: int, *layers: nnx.Module) -> None:
        self.block, self.stochastic_depth = Sequential(*layers), StochasticDepth()
        self.shortcut = stride == 1 and cin == cout

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.stochastic_depth(self.block(x)) if self.shortcut else self.block(x)


class MBConv(_Residual):
    """An inverted residual: 1x1 to more channels, depthwise, squeeze and excitation, linear 1x1."""

    def __init__(self, cin: int, cout: int, expansion: int, size: int, stride: int, epsilon: float):
        conv = functools.partial(ConvNormActivation, epsilon=epsilon, activation=SiLU)
        wide = divisible(cin * expansion)
        expand = [conv(cin, wide, 1)] if wide != cin else []
        depthwise, project = conv(wide, wide, size, stride, groups=wide), conv(wide, cout, 1, activation=None)
        excite = SqueezeExcitation(wide, max(1, cin // 4), activation=SiLU)
        self._build(cin, cout, stride, *expand, depthwise, excite, project)


class FusedMBConv(_Residual):
    """`MBConv` with one convolution for the first two, and without squeeze and excitation."""

    def __init__(self, cin: int, cout: int, expansion: int, size: int, stride: int, epsilon: float):
        conv = functools.partial(ConvNormActivation, epsilon=epsilon, activation=SiLU)
        wide = divisible(cin * expansion)
        if wide == cin:
            self._build(cin, cout, stride, conv(cin, cout, size, stride))
        else:
            self._build(cin, cout, stride, conv(cin, wide, size, stride), conv(wide, cout, 1, activation=None))


class Stage(NamedTuple):
    """Blocks of one kind; the stride is that of the first."""

    block: type[MBConv | FusedMBConv]
    expansion: int
    size: int
    stride: int
    width: int
    depth: int


# Factors of width and depth.
SCALES = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
B0 = (
    Stage(MBConv, 1, 3, 1, 16, 1),
    Stage(MBConv, 6, 3, 2, 24, 2),
    Stage(MBConv, 6, 5, 2, 40, 2),
    Stage(MBConv, 6, 3, 2, 80, 3),
    Stage(MBConv, 6, 5, 1, 112, 3),
    Stage(MBConv, 6, 5, 2, 192, 4),
    Stage(MBConv, 6, 3, 1, 320, 1),
)
# V2, per stage: block, expansion, kernel, stride of the first block; then the widths and depths.
# "v2_s" has one stage less.
STAGES_V2 = (
    (FusedMBConv, 1, 3, 1),
    (FusedMBConv, 4, 3, 2),
    (FusedMBConv, 4, 3, 2),
    (MBConv, 4, 3, 2),
    (MBConv, 6, 3, 1),
    (MBConv, 6, 3, 2),
    (MBConv, 6, 3, 1),
)
SIZES_V2 = {
    "v2_s": ((24, 48, 64, 128, 160, 256), (2, 4, 4, 6, 9, 15)),
    "v2_m": ((24, 48, 80, 160, 176, 304, 512), (3, 5, 5, 7, 14, 18, 5)),
    "v2_l": ((32, 64, 96, 192, 224, 384, 640), (4, 7, 7, 10, 19, 25, 7)),
}


def _stages(variant: str) -> tuple[int, list[Stage]]:
    """Return the width of the first convolution, and the stages."""
    if variant in SIZES_V2:
        widths, depths = SIZES_V2[variant]
        return widths[0], [Stage(*block, *size) for block, *size in zip(STAGES_V2, widths, depths, strict=False)]
    wider, deeper = SCALES[variant]
    stages = [s._replace(width=divisible(s.width * wider), depth=math.ceil(s.depth * deeper)) for s in B0]
    return divisible(32 * wider), stages


class EfficientNet(nnx.Module):
    """EfficientNet `variant` "b0" to "b7", "v2_s", "v2_m" or "v2_l"."""

    def __init__(self, variant: str, *, num_classes: int = 1000):
        cin, stages = _stages(variant)
        epsilon = 1e-5 if variant in ("b0", "b1", "b2", "b3", "b4") else 1e-3
        layers: list[nnx.Module] = [ConvNormActivation(3, cin, 3, 2, epsilon=epsilon, activation=SiLU)]
        for block, expansion, size, stride, width, depth in stages:
            blocks = []
            for i in range(depth):
                blocks.append(block(cin, width, expansion, size, 1 if i else stride, epsilon))
                cin = width
            layers.append(Sequential(*blocks))
        head = 1280 if variant in SIZES_V2 else 4 * cin
        self.features = Sequential(*layers, ConvNormActivation(cin, head, 1, epsilon=epsilon, activation=SiLU))
        self.avgpool, self.classifier = AdaptiveAvgPool(1, 1), Sequential(Dropout(), Linear(head, num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(flatten(self.avgpool(self.features(x))))


NETWORKS = {f"efficientnet_{variant}": functools.partial(EfficientNet, variant) for variant in (*SCALES, *SIZES_V2)}
