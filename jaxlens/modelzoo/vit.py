"""Vision transformers B, L and H, with torchvision's layer names.

Dosovitskiy et al. 2020, arXiv:2010.11929.

Each block `encoder.layers.encoder_layer_<i>` has two layers more than torchvision names:

- `.self_attention.attention_weights`, `[B, heads, tokens, tokens]`: how much each token (rows)
  takes from each other. Token 0 is the class token; the others are the patches row by row.
- `.grid`, `[B, height, width, channels]`: the block's output for the patches as a map. The network
  computes with it, so an interceptor can change it.
"""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens import _kernels
from jaxlens.modelzoo._activations import GELU
from jaxlens.modelzoo._layers import (
    AS_IT_IS,
    OI_TO_IO,
    Conv,
    Dropout,
    Identity,
    LayerNorm,
    Linear,
    Sequential,
    TorchTensors,
    abstract,
)

# Side of a patch, blocks, heads, channels.
VARIANTS = {
    "b_16": (16, 12, 12, 768),
    "b_32": (32, 12, 12, 768),
    "l_16": (16, 24, 16, 1024),
    "l_32": (32, 24, 16, 1024),
    "h_14": (14, 32, 16, 1280),
}

_norm = functools.partial(LayerNorm, epsilon=1e-6)


class AttentionWeights(nnx.Module):
    """Attention weights `[B, heads, tokens, tokens]` of queries and keys `[B, heads, tokens, d]`.

    Rows sum to 1.
    """

    def __call__(self, q: jax.Array, k: jax.Array) -> jax.Array:
        return _kernels.attention_weights(q, k)


class MultiheadAttention(nnx.Module):
    """PyTorch's `MultiheadAttention` of tokens to each other.

    As there, `out_proj` holds parameters and is not a layer.
    """

    torch_tensors: ClassVar[TorchTensors] = {"in_proj_weight": ("kernel", OI_TO_IO), "in_proj_bias": ("bias", AS_IT_IS)}

    def __init__(self, width: int, heads: int):
        self.kernel, self.bias = nnx.Param(abstract(width, 3 * width)), nnx.Param(abstract(3 * width))
        self.attention_weights = AttentionWeights()
        self.out_proj = Linear(width, width)
        self.heads = heads

    def __call__(self, x: jax.Array) -> jax.Array:
        kernel, bias, out = self.kernel[...], self.bias[...], self.out_proj
        y = _kernels.multihead_attention((x, x, x), kernel, bias, heads=self.heads, weights=self.attention_weights)
        return _kernels.linear(y, out.kernel[...], None if out.bias is None else out.bias[...])


class MLP(Sequential):
    """Two linear layers at each token or pixel; the first has four times the channels."""

    def __init__(self, width: int):
        super().__init__(Linear(width, 4 * width), GELU(), Dropout(), Linear(4 * width, width), Dropout())


class Grid(Identity):
    """Patch tokens as a map `[B, height, width, channels]`."""


class EncoderBlock(nnx.Module):
    """Attention and MLP on a class token and `side * side` patches.

    Each has a norm before it and a shortcut.
    """

    def __init__(self, width: int, heads: int, side: int):
        self.ln_1, self.self_attention, self.dropout = _norm(width), MultiheadAttention(width, heads), Dropout()
        self.ln_2, self.mlp = _norm(width), MLP(width)
        self.grid, self.side = Grid(), side

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.dropout(self.self_attention(self.ln_1(x)))
        x = x + self.mlp(self.ln_2(x))
        patches = self.grid(x[:, 1:].reshape(-1, self.side, self.side, x.shape[-1]))
        return jnp.concatenate([x[:, :1], patches.reshape(-1, self.side**2, x.shape[-1])], axis=1)


class Encoder(nnx.Module):
    """The positions and all blocks."""

    torch_tensors: ClassVar[TorchTensors] = {"pos_embedding": ("pos_embedding", AS_IT_IS)}

    def __init__(self, depth: int, width: int, heads: int, side: int):
        self.pos_embedding = nnx.Param(abstract(1, 1 + side**2, width))
        self.dropout = Dropout()
        self.layers = Sequential(**{f"encoder_layer_{i}": EncoderBlock(width, heads, side) for i in range(depth)})
        self.ln = _norm(width)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding[...])))


class VisionTransformer(nnx.Module):
    """A transformer on patches of `patch` pixels.

    It takes square images of one size, which is a multiple of `patch`.
    """

    torch_tensors: ClassVar[TorchTensors] = {"class_token": ("class_token", AS_IT_IS)}

    # Published files have torchvision 0.12's names of the MLPs.
    renamed_tensors = (r"mlp\.linear_([12])\.", lambda match: {"1": "mlp.0.", "2": "mlp.3."}[match[1]])

    def __init__(self, patch: int, depth: int, heads: int, width: int, *, image_size: int = 224, num_classes: int = 1000):
        if image_size < patch or image_size % patch:
            raise ValueError(f"image_size={image_size} must be a multiple of {patch}, the side of a patch.")
        self.image_size = image_size
        self.conv_proj = Conv(3, width, patch, patch)
        self.class_token = nnx.Param(abstract(1, 1, width))
        self.encoder = Encoder(depth, width, heads, image_size // patch)
        self.heads = Sequential(head=Linear(width, num_classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        check_size(x, self.image_size)
        patches = self.conv_proj(x)
        patches = patches.reshape(x.shape[0], -1, patches.shape[-1])
        token = jnp.broadcast_to(self.class_token[...], (x.shape[0], 1, patches.shape[-1]))
        return self.heads(self.encoder(jnp.concatenate([token, patches], axis=1))[:, 0])


def check_size(images: jax.Array, image_size: int) -> None:
    """Refuse images of another size than the network was built for."""
    height, width = images.shape[1:3]
    if (height, width) != (image_size, image_size):
        raise ValueError(
            f"The images are {height}x{width}, but this network takes {image_size}x{image_size} only. Resize them (a render "
            f"does it with fixed_image_size={image_size}), or pass image_size= to modelzoo.load for a network of another size "
            "(square; its weights must be for that size too)."
        )


NETWORKS = {f"vit_{name}": functools.partial(VisionTransformer, *variant) for name, variant in VARIANTS.items()}
