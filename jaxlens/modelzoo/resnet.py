"""ResNet 18 to 152 (He et al. 2015, arXiv:1512.03385), with torchvision's layer names.

As in torchvision, the stride of a bottleneck is at its 3x3 convolution ("v1.5"), and one ReLU module serves a whole
block: its calls are the layers `layer1.0.relu@0`, `layer1.0.relu@1`, ..., and `layer1.0.relu` means the last.
"""

import jax
from flax import nnx

from jaxlens.modelzoo._layers import AdaptiveAvgPool, BatchNorm, Conv, Linear, MaxPool, ReLU, Sequential, flatten


class _Residual(nnx.Module):
    """What the two kinds of block share: the way around the convolutions."""

    expansion: int
    relu: ReLU

    def _shortcut(self, cin: int, width: int, stride: int) -> None:
        cout = width * self.expansion
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
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, cin: int, width: int, stride: int):
        self.conv1, self.bn1 = Conv(cin, width, 1, bias=False), BatchNorm(width)
        self.conv2, self.bn2 = Conv(width, width, 3, stride, 1, bias=False), BatchNorm(width)
        self.conv3, self.bn3 = Conv(width, 4 * width, 1, bias=False), BatchNorm(4 * width)
        self.relu = ReLU()
        self._shortcut(cin, width, stride)

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
    """ResNet of `depth` 18, 34, 50, 101 or 152."""

    def __init__(self, depth: int, *, classes: int = 1000):
        block, depths = DEPTHS[depth]
        self.conv1, self.bn1, self.relu = Conv(3, 64, 7, 2, 3, bias=False), BatchNorm(64), ReLU()
        self.maxpool = MaxPool(3, 2, 1)
        cin = 64
        for stage, blocks in enumerate(depths):
            width, layers = 64 * 2**stage, []
            for i in range(blocks):
                layers.append(block(cin, width, 2 if stage and i == 0 else 1))
                cin = width * block.expansion
            setattr(self, f"layer{stage + 1}", Sequential(*layers))
        self.avgpool = AdaptiveAvgPool(1, 1)
        self.fc = Linear(cin, classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(flatten(self.avgpool(x)))
