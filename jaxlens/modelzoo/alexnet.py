"""AlexNet (Krizhevsky 2014, "One weird trick", arXiv:1404.5997), with torchvision's layer names."""

import jax
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Conv, Dropout, Linear, MaxPool, Sequential, flatten


class AlexNet(nnx.Module):
    """AlexNet without groups or response normalization, as in torchvision."""

    def __init__(self, *, num_classes: int = 1000):
        self.features = Sequential(
            Conv(3, 64, 11, stride=4, padding=2),
            ReLU(),
            MaxPool(3, 2),
            Conv(64, 192, 5, padding=2),
            ReLU(),
            MaxPool(3, 2),
            Conv(192, 384, 3, padding=1),
            ReLU(),
            Conv(384, 256, 3, padding=1),
            ReLU(),
            Conv(256, 256, 3, padding=1),
            ReLU(),
            MaxPool(3, 2),
        )
        self.avgpool = AdaptiveAvgPool(6, 6)
        self.classifier = Sequential(
            Dropout(), Linear(256 * 6 * 6, 4096), ReLU(), Dropout(), Linear(4096, 4096), ReLU(), Linear(4096, num_classes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(flatten(self.avgpool(self.features(x))))


NETWORKS = {"alexnet": AlexNet}
