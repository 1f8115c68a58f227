"""Inception v3 (Szegedy et al. 2015, arXiv:1512.00567), with torchvision's layer names.

As in torchvision, the pools inside the blocks and the ReLUs after the batch norms have no names.
Images must be at least 75 pixels high and wide.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens.modelzoo._blocks import IMAGENET_TO_HALVES, BasicConv
from jaxlens.modelzoo._layers import AdaptiveAvgPool, AvgPool, Dropout, Linear, MaxPool, flatten

# Pools without a name: they belong to no network.
MEAN, MEAN_5, MAX = AvgPool(3, 1, 1), AvgPool(5, 3), MaxPool(3, 2)


def _in_turn(x: jax.Array, *layers: Callable[[jax.Array], jax.Array]) -> jax.Array:
    for layer in layers:
        x = layer(x)
    return x


def _concat(*branches: jax.Array) -> jax.Array:
    return jnp.concatenate(branches, axis=-1)


class InceptionA(nnx.Module):
    """Convolutions of 1x1, 5x5, twice 3x3, and 1x1 after a mean."""

    def __init__(self, cin: int, pool: int):
        self.branch1x1 = BasicConv(cin, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = BasicConv(cin, 48, 1), BasicConv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = BasicConv(cin, 64, 1), BasicConv(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3)
        self.branch_pool = BasicConv(cin, pool, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        return _concat(
            self.branch1x1(x),
            _in_turn(x, self.branch5x5_1, self.branch5x5_2),
            _in_turn(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3),
            self.branch_pool(MEAN(x)),
        )


class InceptionB(nnx.Module):
    """A block that halves the size: 3x3, twice 3x3, and a maximum."""

    def __init__(self, cin: int):
        self.branch3x3 = BasicConv(cin, 384, 3, 2, 0)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = BasicConv(cin, 64, 1), BasicConv(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, 2, 0)

    def __call__(self, x: jax.Array) -> jax.Array:
        single = self.branch3x3(x)
        return _concat(single, _in_turn(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3), MAX(x))


class InceptionC(nnx.Module):
    """Convolutions of 1x1, 7x7, twice 7x7, and 1x1 after a mean; each 7x7 is a row and a column."""

    def __init__(self, cin: int, width: int):
        row, column = (1, 7), (7, 1)
        self.branch1x1 = BasicConv(cin, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = BasicConv(cin, width, 1), BasicConv(width, width, row)
        self.branch7x7_3 = BasicConv(width, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = BasicConv(cin, width, 1), BasicConv(width, width, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = BasicConv(width, width, row), BasicConv(width, width, column)
        self.branch7x7dbl_5 = BasicConv(width, 192, row)
        self.branch_pool = BasicConv(cin, 192, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        doubled = (self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4, self.branch7x7dbl_5)
        return _concat(
            self.branch1x1(x),
            _in_turn(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3),
            _in_turn(x, *doubled),
            self.branch_pool(MEAN(x)),
        )


class InceptionD(nnx.Module):
    """A block that halves the size: 3x3, 7x7 and 3x3, and a maximum."""

    def __init__(self, cin: int):
        self.branch3x3_1, self.branch3x3_2 = BasicConv(cin, 192, 1), BasicConv(192, 320, 3, 2, 0)
        self.branch7x7x3_1, self.branch7x7x3_2 = BasicConv(cin, 192, 1), BasicConv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = BasicConv(192, 192, (7, 1)), BasicConv(192, 192, 3, 2, 0)

    def __call__(self, x: jax.Array) -> jax.Array:
        short = _in_turn(x, self.branch3x3_1, self.branch3x3_2)
        long = _in_turn(x, self.branch7x7x3_1, self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4)
        return _concat(short, long, MAX(x))


class InceptionE(nnx.Module):
    """Convolutions of 1x1, 3x3, twice 3x3, and 1x1 after a mean.

    The last 3x3 of a branch is a row and a column side by side.
    """

    def __init__(self, cin: int):
        row, column = (1, 3), (3, 1)
        self.branch1x1 = BasicConv(cin, 320, 1)
        self.branch3x3_1 = BasicConv(cin, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = BasicConv(384, 384, row), BasicConv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = BasicConv(cin, 448, 1), BasicConv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = BasicConv(384, 384, row), BasicConv(384, 384, column)
        self.branch_pool = BasicConv(cin, 192, 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        pointwise, single = self.branch1x1(x), self.branch3x3_1(x)
        single = _concat(self.branch3x3_2a(single), self.branch3x3_2b(single))
        doubled = _in_turn(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        doubled = _concat(self.branch3x3dbl_3a(doubled), self.branch3x3dbl_3b(doubled))
        return _concat(pointwise, single, doubled, self.branch_pool(MEAN(x)))


class InceptionAux(nnx.Module):
    """A classifier halfway through the network, which helped in training.

    It takes maps of at least 17x17.
    """

    def __init__(self, cin: int, num_classes: int):
        self.conv0, self.conv1 = BasicConv(cin, 128, 1), BasicConv(128, 768, 5, 1, 0)
        self.fc = Linear(768, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc(self.conv1(self.conv0(MEAN_5(x))).mean((1, 2)))


class InceptionV3(nnx.Module):
    """Inception v3.

    Args:
        num_classes: the number of outputs.
        aux_logits: whether to have the auxiliary classifier `AuxLogits`. It is a layer to look at;
            nothing uses it. It only runs on images of at least 299 pixels.
        transform_input: whether images have ImageNet's normalization, as torchvision's do; else
            they are in [-1, 1].
    """

    unused_tensors = r"^AuxLogits\."

    def __init__(self, *, num_classes: int = 1000, aux_logits: bool = False, transform_input: bool = True):
        self.transform_input = transform_input
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = BasicConv(3, 32, 3, 2, 0), BasicConv(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3, self.maxpool1 = BasicConv(32, 64, 3), MaxPool(3, 2)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, self.maxpool2 = BasicConv(64, 80, 1), BasicConv(80, 192, 3, 1, 0), MaxPool(3, 2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b, self.Mixed_6c = InceptionC(768, 128), InceptionC(768, 160)
        self.Mixed_6d, self.Mixed_6e = InceptionC(768, 160), InceptionC(768, 192)
        self.AuxLogits = InceptionAux(768, num_classes) if aux_logits else None
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = InceptionD(768), InceptionE(1280), InceptionE(2048)
        self.avgpool, self.dropout, self.fc = AdaptiveAvgPool(1, 1), Dropout(), Linear(2048, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.transform_input:
            x = IMAGENET_TO_HALVES(x)
        x = _in_turn(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3, self.maxpool1)
        x = _in_turn(x, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, self.maxpool2)
        x = _in_turn(x, self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a)
        x = _in_turn(x, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)
        if self.AuxLogits is not None and min(x.shape[1:3]) >= 17:
            self.AuxLogits(x)  # a layer to look at; nothing uses it
        x = _in_turn(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c)
        return self.fc(flatten(self.dropout(self.avgpool(x))))


NETWORKS = {"inception_v3": InceptionV3}
