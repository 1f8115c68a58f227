"""MNASNet B1 of four widths (Tan et al. 2018, arXiv:1807.11626), with torchvision's layer names.

As in torchvision, the average before the classifier has no name.
"""

import functools

import jax
from flax import nnx

from jaxlens.modelzoo._blocks import conv_norm, divisible
from jaxlens.modelzoo._layers import Dropout, Linear, Sequential

# Per stage: expansion, channels, blocks, stride of the first, size of the kernel.
STAGES = ((3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
WIDTHS = {"0_5": 0.5, "0_75": 0.75, "1_0": 1.0, "1_3": 1.3}


class InvertedResidual(nnx.Module):
    """1x1 to more channels, depthwise, and linear 1x1; a shortcut where the shape stays."""

    def __init__(self, cin: int, cout: int, expansion: int, stride: int, size: int):
        wide = cin * expansion
        self.layers = Sequential(
            *conv_norm(cin, wide, 1),
            *conv_norm(wide, wide, size, stride, groups=wide),
            *conv_norm(wide, cout, 1, activation=None),
        )
        self.shortcut = stride == 1 and cin == cout

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MNASNet(nnx.Module):
    """MNASNet of `width` "0_5", "0_75", "1_0" or "1_3".

    The last convolution has the same width in all.
    """

    def __init__(self, width: str, *, num_classes: int = 1000):
        stem, cin = divisible(32 * WIDTHS[width]), divisible(16 * WIDTHS[width])
        layers = conv_norm(3, stem, 3, 2) + conv_norm(stem, stem, 3, groups=stem) + conv_norm(stem, cin, 1, activation=None)
        for expansion, channels, blocks, stride, size in STAGES:
            cout, stage = divisible(channels * WIDTHS[width]), []
            for i in range(blocks):
                stage.append(InvertedResidual(cin, cout, expansion, 1 if i else stride, size))
                cin = cout
            layers.append(Sequential(*stage))
        self.layers = Sequential(*layers, *conv_norm(cin, 1280, 1))
        self.classifier = Sequential(Dropout(), Linear(1280, num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(self.layers(x).mean((1, 2)))


NETWORKS = {f"mnasnet{width}": functools.partial(MNASNet, width) for width in WIDTHS}
