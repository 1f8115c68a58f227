"""DenseNet 121 to 201 (Huang et al. 2016, arXiv:1608.06993), with torchvision's layer names.

As in torchvision, the ReLU and the average before the classifier have no name.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AvgPool, BatchNorm, Conv, Linear, MaxPool, Sequential

# Growth, channels of the first convolution, dense layers in each of the four blocks.
SIZES = {
    121: (32, 64, (6, 12, 24, 16)),
    161: (48, 96, (6, 12, 36, 24)),
    169: (32, 64, (6, 12, 32, 32)),
    201: (32, 64, (6, 12, 48, 32)),
}


class DenseLayer(nnx.Module):
    """`growth` new channels, through a 1x1 bottleneck four times as wide."""

    def __init__(self, cin: int, growth: int):
        self.norm1, self.relu1, self.conv1 = BatchNorm(cin), ReLU(), Conv(cin, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = BatchNorm(4 * growth), ReLU()
        self.conv2 = Conv(4 * growth, growth, 3, padding=1, bias=False)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv1(self.relu1(self.norm1(x)))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nnx.Module):
    """Dense layers. Each takes the block's input and the outputs of all layers before it.

    The block's output is the concatenation of all of these.
    """

    def __init__(self, cin: int, growth: int, depth: int):
        self.depth = depth
        for i in range(depth):
            setattr(self, f"denselayer{i + 1}", DenseLayer(cin + i * growth, growth))

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.depth):
            x = jnp.concatenate([x, getattr(self, f"denselayer{i + 1}")(x)], axis=-1)
        return x


class Transition(Sequential):
    """A layer that halves the channels and the size."""

    def __init__(self, cin: int):
        super().__init__(norm=BatchNorm(cin), relu=ReLU(), conv=Conv(cin, cin // 2, 1, bias=False), pool=AvgPool(2, 2))


class DenseNet(nnx.Module):
    """DenseNet of `depth` 121, 161, 169 or 201."""

    # The published files name the layers of a dense layer with a dot: `denselayer1.norm.1`.
    renamed_tensors = (r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.")

    def __init__(self, depth: int, *, num_classes: int = 1000):
        growth, width, depths = SIZES[depth]
        layers: dict[str, nnx.Module] = {
            "conv0": Conv(3, width, 7, 2, 3, bias=False),
            "norm0": BatchNorm(width),
            "relu0": ReLU(),
            "pool0": MaxPool(3, 2, 1),
        }
        for i, number in enumerate(depths, 1):
            layers[f"denseblock{i}"] = DenseBlock(width, growth, number)
            width += number * growth
            if i < len(depths):
                layers[f"transition{i}"] = Transition(width)
                width //= 2
        self.features = Sequential(**layers, norm5=BatchNorm(width))
        self.classifier = Linear(width, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(jax.nn.relu(self.features(x)).mean((1, 2)))


NETWORKS = {f"densenet{depth}": functools.partial(DenseNet, depth) for depth in SIZES}
