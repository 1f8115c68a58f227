"""VGG 11 to 19, with and without batch norm, with torchvision's layer names.

Simonyan & Zisserman 2014, arXiv:1409.1556.
"""

import functools

import jax
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AdaptiveAvgPool, BatchNorm, Conv, Dropout, Linear, MaxPool, Sequential, flatten

WIDTHS = (64, 128, 256, 512, 512)
# 3x3 convolutions in each of the five stages; a pool ends a stage.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nnx.Module):
    """VGG of `depth` 11, 13, 16 or 19."""

    def __init__(self, depth: int, *, batch_norm: bool = False, num_classes: int = 1000):
        layers: list[nnx.Module] = []
        cin = 3
        for width, convolutions in zip(WIDTHS, DEPTHS[depth], strict=True):
            for _ in range(convolutions):
                layers += [Conv(cin, width, 3, padding=1), *([BatchNorm(width)] if batch_norm else []), ReLU()]
                cin = width
            layers.append(MaxPool(2, 2))
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool(7, 7)
        self.classifier = Sequential(
            Linear(cin * 7 * 7, 4096), ReLU(), Dropout(), Linear(4096, 4096), ReLU(), Dropout(), Linear(4096, num_classes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(flatten(self.avgpool(self.features(x))))


NETWORKS = {
    f"vgg{depth}{'_bn' * norm}": functools.partial(VGG, depth, batch_norm=norm) for depth in DEPTHS for norm in (False, True)
}
