"""Attention. Its weights are a site, `<module>.attention_weights`."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens import _kernels
from jaxlens.graph._tensor import Tensor, tensor
from jaxlens.graph.ops._table import op, refuse

Site = Callable[[Callable[..., jax.Array]], Callable[..., jax.Array]]


@op("scaled_dot_product_attention", attention=True)
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    weights_site: Site,
) -> Tensor:
    refuse(dropout_p, "dropout in attention: call module.eval()")
    refuse(enable_gqa, "grouped-query attention")
    q, k, v = query.logical, key.logical, value.logical
    mask = _causal(q.shape[-2], k.shape[-2]) if is_causal else None if attn_mask is None else attn_mask.logical
    y = weights_site(_weights(mask, scale))(q, k) @ v
    return tensor(y)


def _weights(mask: jax.Array | None, scale: float | None = None) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda q, k: _kernels.attention_weights(q, k, mask, scale=scale)


def _causal(queries: int, keys: int) -> jax.Array:
    return jnp.asarray(np.tri(queries, keys, dtype=bool))


@op("multi_head_attention", attention=True)  # torch.nn.MultiheadAttention
def _multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    in_proj: Tensor,
    in_proj_bias: Tensor | None,
    out_proj: Tensor,
    out_proj_bias: Tensor | None,
    heads: int,
    batch_first: bool,
    weights_site: Site,
) -> tuple[Tensor, Tensor | None]:
    refuse(query.ndim != 3, "MultiheadAttention of one example without a batch axis")
    refuse(is_causal and attn_mask is None, "MultiheadAttention with is_causal and no attn_mask, as PyTorch refuses it")
    same = query is key is value
    batched = [x if batch_first else x.permuted((1, 0, 2)) for x in (query, key, value)]
    q, k, v = (x.logical for x in batched)
    mask = _masks(attn_mask, key_padding_mask, q.shape[0], heads)
    weights: list[jax.Array] = []

    def attend(q: jax.Array, k: jax.Array) -> jax.Array:
        weights.append(weights_site(_weights(mask))(q, k))
        return weights[0]

    kernel, bias = in_proj.in_order((1, 0)), None if in_proj_bias is None else in_proj_bias.data
    y = _kernels.multihead_attention((q, q, q) if same else (q, k, v), kernel, bias, heads=heads, weights=attend)
    y = _kernels.linear(y, out_proj.in_order((1, 0)), None if out_proj_bias is None else out_proj_bias.data)
    out = tensor(y, 2) if batch_first else tensor(y, 2).permuted((1, 0, 2))
    if not need_weights:
        return out, None
    return out, tensor(weights[0].mean(1) if average_attn_weights else weights[0])


def _masks(attn_mask: Tensor | None, padding: Tensor | None, batch: int, heads: int) -> jax.Array | None:
    """Return the term to add to the scores `[B, heads, queries, keys]`.

    In PyTorch's modules True means masked.
    """
    parts = []
    if attn_mask is not None:
        mask = attn_mask.logical
        parts.append(mask[None, None] if mask.ndim == 2 else mask.reshape(batch, heads, *mask.shape[1:]))
    if padding is not None:
        parts.append(padding.logical[:, None, None, :])
    total = None
    for part in parts:
        if part.dtype == bool:
            part = jnp.where(part, -jnp.inf, 0.0)
        total = part if total is None else total + part
    return total


@op("square_grid")
def _square_grid(input: Tensor) -> Tensor:
    """Reshape the tokens of a square image, `[B, n * n, D]`, into a map `[B, n, n, D]`.

    PyTorch has no such operator: it serves the layers `.grid` of torchvision's ViT.
    """
    b, tokens, width = input.shape
    side = math.isqrt(tokens)
    return tensor(input.logical.reshape(b, side, side, width), 3)


@op("_get_relative_position_bias")  # torchvision's Swin
def _relative_position_bias(table: Tensor, index: Tensor, window_size: Sequence[int]) -> Tensor:
    pixels = window_size[0] * window_size[1]
    return tensor(jnp.take(table.logical, index.logical, axis=0).reshape(pixels, pixels, -1).transpose(2, 0, 1)[None])


@op("shifted_window_attention", attention=True)  # torchvision's Swin
def _shifted_window_attention(
    input: Tensor,
    qkv_weight: Tensor,
    proj_weight: Tensor,
    relative_position_bias: Tensor,
    window_size: Sequence[int],
    num_heads: int,
    shift_size: Sequence[int],
    attention_dropout: float = 0.0,
    dropout: float = 0.0,
    qkv_bias: Tensor | None = None,
    proj_bias: Tensor | None = None,
    logit_scale: Tensor | None = None,
    training: bool = True,
    *,
    weights_site: Site,
) -> Tensor:
    refuse(training and (attention_dropout or dropout), "dropout in attention: call module.eval()")
    _, h, w, _ = input.shape
    windows = _kernels.Windows((h, w), (window_size[0], window_size[1]), (shift_size[0], shift_size[1]))
    y = _kernels.window_attention(
        input.logical,
        qkv_weight.in_order((1, 0)),
        None if qkv_bias is None else qkv_bias.data,
        proj_weight.in_order((1, 0)),
        None if proj_bias is None else proj_bias.data,
        relative_position_bias.logical[0],
        windows=windows,
        heads=num_heads,
        logit_scale=None if logit_scale is None else logit_scale.logical,
        weights=weights_site(_kernels.window_weights),
    )
    return tensor(y, 3)
