"""MaxViT T (Tu et al. 2022, arXiv:2204.01697), with torchvision's layer names.

Each attention has one layer more than torchvision names, `.attn_layer.1.attention_weights`, of
shape `[B, windows, heads, pixels, pixels]`: how much each pixel (rows) takes from each other in its
window, or in its grid of pixels that are far apart.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens import _kernels
from jaxlens.modelzoo._activations import GELU, SiLU, Tanh
from jaxlens.modelzoo._blocks import ConvNormActivation, SqueezeExcitation
from jaxlens.modelzoo._layers import (
    AS_IT_IS,
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    Sequential,
    StochasticDepth,
    TorchTensors,
    abstract,
)
from jaxlens.modelzoo.swin import AttentionWeights
from jaxlens.modelzoo.vit import check_size

WIDTHS, DEPTHS = (64, 128, 256, 512), (2, 2, 5, 2)  # channels and layers in each of the four blocks
HEAD = 32  # channels of a head
WINDOW = 7  # side of a window, and of a grid
EPSILON = 1e-3  # of batch norms


class MBConv(nnx.Module):
    """1x1, 3x3 per channel, squeeze and excitation, 1x1; a shortcut."""

    def __init__(self, cin: int, cout: int, stride: int):
        inner = 4 * cout
        self.proj = Identity() if stride == 1 else Sequential(AvgPool(3, stride, 1), Conv(cin, cout, 1))
        self.stochastic_depth = StochasticDepth()
        self.layers = Sequential(
            pre_norm=BatchNorm(cin, epsilon=EPSILON),
            conv_a=ConvNormActivation(cin, inner, 1, activation=GELU, epsilon=EPSILON),
            conv_b=ConvNormActivation(inner, inner, 3, stride, groups=inner, activation=GELU, epsilon=EPSILON),
            squeeze_excitation=SqueezeExcitation(inner, cout // 4, activation=SiLU),
            conv_c=Conv(inner, cout, 1),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.proj(x) + self.stochastic_depth(self.layers(x))


class RelativePositionalMultiHeadAttention(nnx.Module):
    """Attention within groups of pixels `[B, groups, pixels, channels]`.

    Each relative position has a bias.
    """

    torch_tensors: ClassVar[TorchTensors] = {"relative_position_bias_table": ("relative_position_bias_table", AS_IT_IS)}

    def __init__(self, width: int):
        self.heads = width // HEAD
        self.to_qkv, self.merge = Linear(width, 3 * width), Linear(width, width)
        self.relative_position_bias_table = nnx.Param(abstract((2 * WINDOW - 1) ** 2, self.heads))
        self.attention_weights = AttentionWeights()

    def __call__(self, x: jax.Array) -> jax.Array:
        q, k, v = (_kernels.split_heads(y, self.heads) for y in jnp.split(self.to_qkv(x), 3, axis=-1))
        bias = self.relative_position_bias_table[_kernels.relative_positions((WINDOW, WINDOW))].transpose(2, 0, 1)
        # torchvision scales by all channels, `attention_weights` by those of a head
        weights = self.attention_weights(q * self.heads**-0.5, k, bias)
        return self.merge(_kernels.join_heads(weights @ v))


class WindowPartition(nnx.Module):
    """Cut a map into windows of `side`: `[B, windows, pixels, channels]`."""

    def __call__(self, x: jax.Array, side: int) -> jax.Array:
        return _windows((x.shape[1], x.shape[2]), side).cut(x)


class WindowDepartition(nnx.Module):
    """The inverse of `WindowPartition` for a map of `size`."""

    def __call__(self, x: jax.Array, side: int, size: tuple[int, int]) -> jax.Array:
        return _windows(size, side).join(x)


def _windows(size: tuple[int, int], side: int) -> _kernels.Windows:
    return _kernels.Windows(size, (side, side), (0, 0))


class SwapAxes(nnx.Module):
    """Turn windows of neighbors into grids of pixels at the same place in a window, or back."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.swapaxes(1, 2)


class PartitionAttentionLayer(nnx.Module):
    """Attention and MLP within windows of 7x7 neighbors, or within grids of 7x7 distant pixels."""

    def __init__(self, width: int, *, grid: bool):
        self.grid = grid
        self.partition_op, self.departition_op = WindowPartition(), WindowDepartition()
        self.partition_swap, self.departition_swap = (SwapAxes(), SwapAxes()) if grid else (Identity(), Identity())
        self.attn_layer = Sequential(LayerNorm(width), RelativePositionalMultiHeadAttention(width), Dropout())
        self.mlp_layer = Sequential(LayerNorm(width), Linear(width, 4 * width), GELU(), Linear(4 * width, width), Dropout())
        self.stochastic_dropout = StochasticDepth()

    def __call__(self, x: jax.Array) -> jax.Array:
        size = x.shape[1], x.shape[2]
        side = size[0] // WINDOW if self.grid else WINDOW
        x = self.partition_swap(self.partition_op(x, side))
        x = x + self.stochastic_dropout(self.attn_layer(x))
        x = x + self.stochastic_dropout(self.mlp_layer(x))
        return self.departition_op(self.departition_swap(x), side, size)


class MaxVitLayer(nnx.Module):
    """Convolutions, attention within windows, attention within grids."""

    def __init__(self, cin: int, cout: int, stride: int):
        self.layers = Sequential(
            MBconv=MBConv(cin, cout, stride),
            window_attention=PartitionAttentionLayer(cout, grid=False),
            grid_attention=PartitionAttentionLayer(cout, grid=True),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers(x)


class MaxVitBlock(nnx.Module):
    """Layers in a row; the first halves the size."""

    def __init__(self, cin: int, cout: int, depth: int):
        self.layers = Sequential(*(MaxVitLayer(cout if i else cin, cout, 1 if i else 2) for i in range(depth)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return _run(self.layers, x)


class MaxVit(nnx.Module):
    """MaxViT for square images of one size, a multiple of 224.

    7 must divide the sides of the maps in all four blocks.
    """

    unused_tensors = r"\.relative_position_index$"  # constants

    def __init__(self, *, image_size: int = 224, num_classes: int = 1000):
        sides = [-(-image_size // 2 ** (i + 2)) for i in range(len(WIDTHS))]
        if image_size < 1 or any(side % WINDOW for side in sides):
            raise ValueError(f"image_size={image_size} must be a multiple of 224, so that {WINDOW} divides the maps' {sides}.")
        self.image_size, stem = image_size, WIDTHS[0]
        self.stem = Sequential(
            ConvNormActivation(3, stem, 3, 2, activation=GELU, epsilon=EPSILON), Sequential(Conv(stem, stem, 3, padding=1))
        )
        inputs = (stem, *WIDTHS[:-1])
        self.blocks = Sequential(*(MaxVitBlock(*block) for block in zip(inputs, WIDTHS, DEPTHS, strict=True)))
        width = WIDTHS[-1]
        self.classifier = Sequential(
            AdaptiveAvgPool(1, 1),
            Flatten(),
            LayerNorm(width),
            Linear(width, width),
            Tanh(),
            Linear(width, num_classes, bias=False),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        check_size(x, self.image_size)
        return self.classifier(_run(self.blocks, self.stem(x)))


def _run(layers: Sequential, x: jax.Array) -> jax.Array:
    """Run the layers of a list, which is no layer itself, as in PyTorch."""
    for name in layers.names:
        x = getattr(layers, name)(x)
    return x


NETWORKS = {"maxvit_t": MaxVit}
