"""SqueezeNet 1.0 and 1.1, with torchvision's layer names.

Iandola et al. 2016, arXiv:1602.07360.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Conv, Dropout, MaxPool, Sequential, flatten

# Per fire module: squeeze width, width of each expand branch; "M" is a pool.
FIRES = {
    "1_0": ((16, 64), (16, 64), (32, 128), "M", (32, 128), (48, 192), (48, 192), (64, 256), "M", (64, 256)),
    "1_1": ((16, 64), (16, 64), "M", (32, 128), (32, 128), "M", (48, 192), (48, 192), (64, 256), (64, 256)),
}


class Fire(nnx.Module):
    """A 1x1 bottleneck, then a 1x1 and a 3x3 branch side by side."""

    def __init__(self, cin: int, squeeze: int, expand: int):
        self.squeeze = Conv(cin, squeeze, 1)
        self.squeeze_activation = ReLU()
        self.expand1x1 = Conv(squeeze, expand, 1)
        self.expand1x1_activation = ReLU()
        self.expand3x3 = Conv(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = ReLU()

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.squeeze_activation(self.squeeze(x))
        branches = [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))]
        return jnp.concatenate(branches, axis=-1)


class SqueezeNet(nnx.Module):
    """SqueezeNet `version` "1_0" or "1_1"."""

    def __init__(self, version: str, *, num_classes: int = 1000):
        cin, size = (96, 7) if version == "1_0" else (64, 3)
        layers: list[nnx.Module] = [Conv(3, cin, size, 2), ReLU(), MaxPool(3, 2, ceil_mode=True)]
        for fire in FIRES[version]:
            if isinstance(fire, str):
                layers.append(MaxPool(3, 2, ceil_mode=True))
            else:
                layers.append(Fire(cin, *fire))
                cin = 2 * fire[1]
        self.features = Sequential(*layers)
        self.classifier = Sequential(Dropout(), Conv(cin, num_classes, 1), ReLU(), AdaptiveAvgPool(1, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return flatten(self.classifier(self.features(x)))


NETWORKS = {f"squeezenet{version}": functools.partial(SqueezeNet, version) for version in FIRES}
