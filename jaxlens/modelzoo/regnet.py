"""RegNetX and RegNetY, with torchvision's layer names.

Radosavovic et al. 2020, arXiv:2003.13678.
"""

import collections
import functools
import math

import jax
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._blocks import ConvNormActivation, SqueezeExcitation, divisible
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Linear, Sequential, flatten

# Blocks; widths of the blocks: the first, their growth, their steps; width of a group.
SIZES = {
    "x_400mf": (22, 24, 24.48, 2.54, 16),
    "x_800mf": (16, 56, 35.73, 2.28, 16),
    "x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "x_8gf": (23, 80, 49.56, 2.88, 120),
    "x_16gf": (22, 216, 55.59, 2.1, 128),
    "x_32gf": (23, 320, 69.86, 2.0, 168),
    "y_400mf": (16, 48, 27.89, 2.09, 8),
    "y_800mf": (14, 56, 38.84, 2.4, 16),
    "y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "y_8gf": (17, 192, 76.82, 2.19, 56),
    "y_16gf": (18, 200, 106.23, 2.48, 112),
    "y_32gf": (20, 232, 115.89, 2.53, 232),
    "y_128gf": (27, 456, 160.83, 2.52, 264),
}


def stages(depth: int, first: int, growth: float, step: float, group: int) -> list[tuple[int, int, int]]:
    """Return the width, the number of blocks and the width of a group of each stage.

    The widths grow linearly, `first + growth * i`. They are rounded to `first` times a power of
    `step`, and then to multiples of 8. The blocks of one width are a stage. Finally the widths
    become multiples of a group's.
    """
    powers = [round(math.log(1 + growth * i / first, step)) for i in range(depth)]
    widths = collections.Counter(8 * round(first * step**power / 8) for power in powers)
    return [(divisible(width, min(group, width)), blocks, min(group, width)) for width, blocks in widths.items()]


class BottleneckTransform(Sequential):
    """1x1, 3x3 in groups, squeeze and excitation (RegNetY only), linear 1x1; all equally wide."""

    def __init__(self, cin: int, cout: int, stride: int, group: int, excite: bool):
        super().__init__(
            a=ConvNormActivation(cin, cout, 1),
            b=ConvNormActivation(cout, cout, 3, stride, groups=cout // group),
            **({"se": SqueezeExcitation(cout, round(cin / 4))} if excite else {}),
            c=ConvNormActivation(cout, cout, 1, activation=None),
        )


class ResBottleneckBlock(nnx.Module):
    """A bottleneck and a shortcut."""

    def __init__(self, cin: int, cout: int, stride: int, group: int, excite: bool):
        same = stride == 1 and cin == cout
        self.proj = None if same else ConvNormActivation(cin, cout, 1, stride, activation=None)
        self.f, self.activation = BottleneckTransform(cin, cout, stride, group, excite), ReLU()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))


class RegNet(nnx.Module):
    """RegNet of one of `SIZES`; "y" has squeeze and excitation, "x" does not."""

    def __init__(self, size: str, *, num_classes: int = 1000):
        excite, cin = size.startswith("y"), 32
        self.stem = ConvNormActivation(3, cin, 3, 2)
        trunk: dict[str, nnx.Module] = {}
        for stage, (cout, depth, group) in enumerate(stages(*SIZES[size]), 1):
            blocks: dict[str, nnx.Module] = {}
            for i in range(depth):
                blocks[f"block{stage}-{i}"] = ResBottleneckBlock(cin, cout, 1 if i else 2, group, excite)
                cin = cout
            trunk[f"block{stage}"] = Sequential(**blocks)
        self.trunk_output, self.avgpool, self.fc = Sequential(**trunk), AdaptiveAvgPool(1, 1), Linear(cin, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(flatten(self.avgpool(self.trunk_output(self.stem(x)))))


NETWORKS = {f"regnet_{size}": functools.partial(RegNet, size) for size in SIZES}
