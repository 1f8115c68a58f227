"""ResNet 18 to 152, ResNeXt and Wide ResNet, with torchvision's layer names.

ResNet: He et al. 2015, arXiv:1512.03385. ResNeXt: Xie et al. 2016, arXiv:1611.05431. Wide ResNet:
Zagoruyko & Komodakis 2016, arXiv:1605.07146.

As in torchvision, the stride of a bottleneck is at its 3x3 convolution ("v1.5"), and one ReLU
module serves a whole block: its calls are the layers `layer1.0.relu@0`, `layer1.0.relu@1`, ..., and
`layer1.0.relu` means the last.
"""

import functools

import jax
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AdaptiveAvgPool, BatchNorm, Conv, Linear, MaxPool, Sequential, flatten


class _Residual(nnx.Module):
    """The base of both kinds of block: a shortcut around the convolutions."""

    expansion: int
    relu: ReLU

    def _shortcut(self, cin: int, cout: int, stride: int) -> None:
        same = stride == 1 and cin == cout
        self.downsample = None if same else Sequential(Conv(cin, cout, 1, stride, bias=False), BatchNorm(cout))

    def _add(self, x: jax.Array, residual: jax.Array) -> jax.Array:
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(_Residual):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, cin: int, width: int, stride: int):
        self.conv1, self.bn1 = Conv(cin, width, 3, stride, 1, bias=False), BatchNorm(width)
        self.relu = ReLU()
        self.conv2, self.bn2 = Conv(width, width, 3, 1, 1, bias=False), BatchNorm(width)
        self._shortcut(cin, width, stride)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.relu(self.bn1(self.conv1(x)))
        return self._add(x, self.bn2(self.conv2(y)))


class Bottleneck(_Residual):
    """1x1, 3x3 and 1x1 convolutions and a shortcut.

    The 3x3 convolution has `groups` groups of `width * width_per_group / 64` channels.
    """

    expansion = 4

    def __init__(self, cin: int, width: int, stride: int, *, groups: int = 1, width_per_group: int = 64):
        inner, cout = width * width_per_group // 64 * groups, 4 * width
        self.conv1, self.bn1 = Conv(cin, inner, 1, bias=False), BatchNorm(inner)
        self.conv2, self.bn2 = Conv(inner, inner, 3, stride, 1, bias=False, groups=groups), BatchNorm(inner)
        self.conv3, self.bn3 = Conv(inner, cout, 1, bias=False), BatchNorm(cout)
        self.relu = ReLU()
        self._shortcut(cin, cout, stride)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self._add(x, self.bn3(self.conv3(y)))


# Blocks in each of the four stages.
DEPTHS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nnx.Module):
    """ResNet of `depth` 18, 34, 50, 101 or 152; `grouping` are the keywords of `Bottleneck`."""

    def __init__(self, depth: int, *, num_classes: int = 1000, **grouping: int):
        block, depths = DEPTHS[depth]
        self.conv1, self.bn1, self.relu = Conv(3, 64, 7, 2, 3, bias=False), BatchNorm(64), ReLU()
        self.maxpool = MaxPool(3, 2, 1)
        cin = 64
        for stage, blocks in enumerate(depths):
            width, layers = 64 * 2**stage, []
            for i in range(blocks):
                layers.append(block(cin, width, 2 if stage and i == 0 else 1, **grouping))
                cin = width * block.expansion
            setattr(self, f"layer{stage + 1}", Sequential(*layers))
        self.avgpool = AdaptiveAvgPool(1, 1)
        self.fc = Linear(cin, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(flatten(self.avgpool(x)))


NETWORKS = {f"resnet{depth}": functools.partial(ResNet, depth) for depth in DEPTHS} | {
    "resnext50_32x4d": functools.partial(ResNet, 50, groups=32, width_per_group=4),
    "resnext101_32x8d": functools.partial(ResNet, 101, groups=32, width_per_group=8),
    "resnext101_64x4d": functools.partial(ResNet, 101, groups=64, width_per_group=4),
    "wide_resnet50_2": functools.partial(ResNet, 50, width_per_group=128),
    "wide_resnet101_2": functools.partial(ResNet, 101, width_per_group=128),
}
