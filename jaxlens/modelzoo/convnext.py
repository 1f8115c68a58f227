"""ConvNeXt tiny to large (Liu et al. 2022, arXiv:2201.03545), with torchvision's layer names."""

import functools
from typing import ClassVar

import jax
from flax import nnx

from jaxlens.modelzoo._activations import GELU
from jaxlens.modelzoo._layers import (
    AdaptiveAvgPool,
    Conv,
    Flatten,
    LayerNorm,
    Linear,
    Permute,
    Sequential,
    StochasticDepth,
    TorchTensors,
    abstract,
)

# Channels and blocks in each of the four stages.
VARIANTS = {
    "tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "small": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
}

_norm = functools.partial(LayerNorm, epsilon=1e-6)


class CNBlock(nnx.Module):
    """A 7x7 convolution of each channel and two layers at each pixel.

    It has a scale per channel and a shortcut.
    """

    torch_tensors: ClassVar[TorchTensors] = {"layer_scale": ("layer_scale", (1, 2, 0))}  # C11 -> 11C

    def __init__(self, width: int):
        self.block = Sequential(
            Conv(width, width, 7, padding=3, groups=width),
            Permute(),
            _norm(width),
            Linear(width, 4 * width),
            GELU(),
            Linear(4 * width, width),
            Permute(),
        )
        self.layer_scale = nnx.Param(abstract(1, 1, width))
        self.stochastic_depth = StochasticDepth()

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.stochastic_depth(self.layer_scale[...][None] * self.block(x))


class ConvNeXt(nnx.Module):
    """ConvNeXt with these `widths` and `depths` of its stages.

    Between the stages are norms and 2x2 convolutions of stride 2.
    """

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], *, num_classes: int = 1000):
        layers: list[nnx.Module] = []
        for stage, (width, blocks) in enumerate(zip(widths, depths, strict=True)):
            if stage == 0:
                layers.append(Sequential(Conv(3, width, 4, 4), _norm(width)))
            else:
                before = widths[stage - 1]
                layers.append(Sequential(_norm(before), Conv(before, width, 2, 2)))
            layers.append(Sequential(*(CNBlock(width) for _ in range(blocks))))
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool(1, 1)
        self.classifier = Sequential(_norm(widths[-1]), Flatten(), Linear(widths[-1], num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.classifier(self.avgpool(self.features(x)))


NETWORKS = {f"convnext_{name}": functools.partial(ConvNeXt, *variant) for name, variant in VARIANTS.items()}
