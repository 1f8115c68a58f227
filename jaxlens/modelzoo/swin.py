"""Swin transformers T, S and B of versions 1 and 2, with torchvision's layer names.

Version 1: Liu et al. 2021, arXiv:2103.14030. Version 2: Liu et al. 2021, arXiv:2111.09883.

Each block has one layer more than torchvision names, `.attn.attention_weights`, of shape
`[B, windows, heads, pixels, pixels]`: how much each pixel of a window (rows) takes from each other.
Windows and their pixels are counted row by row, after the cyclic shift of every second block.
Images of any size pass, because maps are padded to whole windows.
"""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxlens import _kernels
from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import (
    AS_IT_IS,
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
from jaxlens.modelzoo.vit import MLP

# Channels of the first stage, and blocks in each of the four.
VARIANTS = {"t": (96, (2, 2, 6, 2)), "s": (96, (2, 2, 18, 2)), "b": (128, (2, 2, 18, 2))}
HEAD = 32  # channels of a head


class AttentionWeights(nnx.Module):
    """Attention weights within windows; rows sum to 1. See `_kernels.window_weights`."""

    def __call__(
        self, q: jax.Array, k: jax.Array, bias: jax.Array, mask: np.ndarray | None = None, logit_scale: jax.Array | None = None
    ) -> jax.Array:
        return _kernels.window_weights(q, k, bias, mask, logit_scale)


class _WindowAttention(nnx.Module):
    """The base of both versions.

    As in torchvision, `qkv` and `proj` hold parameters and are not layers.
    """

    logit_scale: nnx.Param | None

    def __init__(self, width: int, window: int, shift: int):
        self.qkv, self.proj = Linear(width, 3 * width), Linear(width, width)
        self.attention_weights = AttentionWeights()
        self.window, self.shift, self.heads = (window, window), (shift, shift), width // HEAD

    def _table(self) -> jax.Array:
        """Return the bias of each relative position, `[positions, heads]`."""
        raise NotImplementedError

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.window_attention(
            x,
            self.qkv.kernel[...],
            None if self.qkv.bias is None else self.qkv.bias[...],
            self.proj.kernel[...],
            None if self.proj.bias is None else self.proj.bias[...],
            self._table()[_kernels.relative_positions(self.window)].transpose(2, 0, 1),
            windows=_kernels.Windows((x.shape[1], x.shape[2]), self.window, self.shift),
            heads=self.heads,
            logit_scale=None if self.logit_scale is None else self.logit_scale[...],
            weights=self.attention_weights,
        )


class ShiftedWindowAttention(_WindowAttention):
    """Version 1, with a table of biases."""

    torch_tensors: ClassVar[TorchTensors] = {"relative_position_bias_table": ("relative_position_bias_table", AS_IT_IS)}

    def __init__(self, width: int, window: int, shift: int):
        super().__init__(width, window, shift)
        self.relative_position_bias_table = nnx.Param(abstract((2 * window - 1) ** 2, self.heads))
        self.logit_scale = None

    def _table(self) -> jax.Array:
        return self.relative_position_bias_table[...]


class ShiftedWindowAttentionV2(_WindowAttention):
    """Version 2, with scaled cosines of queries and keys.

    The biases come from a small network of the relative position.
    """

    torch_tensors: ClassVar[TorchTensors] = {"logit_scale": ("logit_scale", AS_IT_IS)}

    def __init__(self, width: int, window: int, shift: int):
        super().__init__(width, window, shift)
        self.logit_scale = nnx.Param(abstract(self.heads, 1, 1))
        self.cpb_mlp = Sequential(Linear(2, 512), ReLU(), Linear(512, self.heads, bias=False))

    def _table(self) -> jax.Array:
        table = self.cpb_mlp(jnp.asarray(_relative_coordinates(self.window[0])))
        return 16 * jax.nn.sigmoid(table.reshape(-1, self.heads))


@functools.cache
def _relative_coordinates(window: int) -> np.ndarray:
    """Return relative positions on a logarithmic scale, at most log2(9) / 3.

    The shape is `[1, 2 * window - 1, 2 * window - 1, 2]`.
    """
    steps = np.arange(1 - window, window) * 8 / (window - 1)
    steps = np.sign(steps) * np.log2(np.abs(steps) + 1) / 3
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)[None].astype(np.float32)


class SwinTransformerBlock(nnx.Module):
    """Attention within windows and MLP, each after a norm and with a shortcut."""

    attention: type[_WindowAttention] = ShiftedWindowAttention

    def __init__(self, width: int, window: int, shift: int):
        self.norm1, self.attn = LayerNorm(width), self.attention(width, window, shift)
        self.stochastic_depth = StochasticDepth()
        self.norm2, self.mlp = LayerNorm(width), MLP(width)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class SwinTransformerBlockV2(SwinTransformerBlock):
    """`SwinTransformerBlock` with the norms behind attention and MLP."""

    attention = ShiftedWindowAttentionV2

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.stochastic_depth(self.norm1(self.attn(x)))
        return x + self.stochastic_depth(self.norm2(self.mlp(x)))


class PatchMerging(nnx.Module):
    """Halve the size and double the channels, by a norm and a layer on 2x2 pixels side by side."""

    def __init__(self, width: int):
        self.reduction, self.norm = Linear(4 * width, 2 * width, bias=False), LayerNorm(4 * width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.reduction(self.norm(_merged(x)))


class PatchMergingV2(nnx.Module):
    """`PatchMerging` with the norm behind the layer."""

    def __init__(self, width: int):
        self.reduction, self.norm = Linear(4 * width, 2 * width, bias=False), LayerNorm(2 * width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.reduction(_merged(x)))


def _merged(x: jax.Array) -> jax.Array:
    """Put the channels of 2x2 pixels side by side, column by column; zeros pad odd sizes."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    b, height, width, c = x.shape
    return x.reshape(b, height // 2, 2, width // 2, 2, c).transpose(0, 1, 3, 4, 2, 5).reshape(b, height // 2, width // 2, 4 * c)


# Block, step between stages, and side of a window of each version.
VERSIONS = {1: (SwinTransformerBlock, PatchMerging, 7), 2: (SwinTransformerBlockV2, PatchMergingV2, 8)}


class SwinTransformer(nnx.Module):
    """Swin of `version` 1 or 2, with `depths` blocks in its stages.

    The first stage has `width` channels.
    """

    unused_tensors = r"attn\.relative_(position_index|coords_table)$"  # constants

    def __init__(self, version: int, width: int, depths: tuple[int, ...], *, num_classes: int = 1000):
        block, merging, window = VERSIONS[version]
        layers: list[nnx.Module] = [Sequential(Conv(3, width, 4, 4), Permute(), LayerNorm(width))]
        for stage, blocks in enumerate(depths):
            if stage:
                layers.append(merging(width))
                width *= 2
            layers.append(Sequential(*(block(width, window, i % 2 * (window // 2)) for i in range(blocks))))
        self.features, self.norm, self.permute = Sequential(*layers), LayerNorm(width), Permute()
        self.avgpool, self.flatten, self.head = AdaptiveAvgPool(1, 1), Flatten(), Linear(width, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.permute(self.norm(self.features(x)))
        return self.head(self.flatten(self.avgpool(x)))


NETWORKS = {
    f"swin{'_v2' * (version == 2)}_{name}": functools.partial(SwinTransformer, version, *variant)
    for version in VERSIONS
    for name, variant in VARIANTS.items()
}
