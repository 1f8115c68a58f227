"""ShuffleNet V2 of four widths (Ma et al. 2018, arXiv:1807.11164), with torchvision's layer names.

As in torchvision, the average before the classifier and the shuffles have no names.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens.modelzoo._blocks import conv_norm
from jaxlens.modelzoo._layers import Linear, MaxPool, Sequential

# Channels of stages 2, 3 and 4 and of the last convolution.
WIDTHS = {
    "x0_5": (48, 96, 192, 1024),
    "x1_0": (116, 232, 464, 1024),
    "x1_5": (176, 352, 704, 1024),
    "x2_0": (244, 488, 976, 2048),
}
DEPTHS = (4, 8, 4)


class InvertedResidual(nnx.Module):
    """Two halves, whose channels are interleaved at the end. At stride 1 the first is unchanged."""

    def __init__(self, cin: int, cout: int, stride: int):
        half, seen = cout // 2, cin if stride > 1 else cin // 2
        depthwise = functools.partial(conv_norm, size=3, stride=stride, activation=None)
        self.branch1 = Sequential(*depthwise(cin, cin, groups=cin), *conv_norm(cin, half, 1)) if stride > 1 else None
        self.branch2 = Sequential(*conv_norm(seen, half, 1), *depthwise(half, half, groups=half), *conv_norm(half, half, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.branch1 is None:
            first, second = jnp.split(x, 2, axis=-1)
            return _interleave(first, self.branch2(second))
        return _interleave(self.branch1(x), self.branch2(x))


def _interleave(a: jax.Array, b: jax.Array) -> jax.Array:
    """Interleave channels: a0, b0, a1, b1, ..."""
    return jnp.stack([a, b], axis=-1).reshape(*a.shape[:-1], -1)


class ShuffleNetV2(nnx.Module):
    """ShuffleNet V2 of `width` "x0_5", "x1_0", "x1_5" or "x2_0"."""

    def __init__(self, width: str, *, num_classes: int = 1000):
        *widths, last = WIDTHS[width]
        self.conv1, self.maxpool = Sequential(*conv_norm(3, 24, 3, 2)), MaxPool(3, 2, 1)
        cin = 24
        for stage, (cout, blocks) in enumerate(zip(widths, DEPTHS, strict=True), 2):
            rest = [InvertedResidual(cout, cout, 1) for _ in range(blocks - 1)]
            setattr(self, f"stage{stage}", Sequential(InvertedResidual(cin, cout, 2), *rest))
            cin = cout
        self.conv5, self.fc = Sequential(*conv_norm(cin, last, 1)), Linear(last, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.maxpool(self.conv1(x))
        for stage in (2, 3, 4):
            x = getattr(self, f"stage{stage}")(x)
        return self.fc(self.conv5(x).mean((1, 2)))


NETWORKS = {f"shufflenet_v2_{width}": functools.partial(ShuffleNetV2, width) for width in WIDTHS}
