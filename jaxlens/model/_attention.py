"""Make the weights of JAX's and Flax's attention sites.

They are the layers `<layer>.attention_weights`, `[B, heads, queries, keys]`.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import attention as linen_attention

from jaxlens.model._replaced import replaced
from jaxlens.model._sites import inside, site

NAME = "attention_weights"
KIND = "AttentionWeights"


def attention_is_site() -> AbstractContextManager[None]:
    """Make attention weights sites inside the `with`.

    They are those of `jax.nn.dot_product_attention`, which Flax NNX calls, and of Flax Linen.
    """
    return replaced([(jax.nn, "dot_product_attention", _jax_nn), (linen_attention, "dot_product_attention_weights", _linen)])


def _named(weights: Callable[..., Any]) -> Callable[..., Any]:
    around = inside()
    return site(NAME if around is None else f"{around}.{NAME}", weights, kind=KIND)


def _linen(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def weights(*args: Any, **kwargs: Any) -> Any:
        return _named(original)(*args, **kwargs)

    return weights


def _jax_nn(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return attention in two steps, with a site between them.

    It calls JAX's own attention for options that it does not know (windows, lengths).
    """

    @functools.wraps(original)
    def attention(query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, **options: Any) -> Any:
        known = {name: options.pop(name) for name in ("scale", "is_causal") if name in options}
        options = {name: option for name, option in options.items() if option is not None and (name, option) != _XLA}
        if options or query.ndim not in (3, 4):
            return original(query, key, value, bias, mask, **known, **options)
        groups = query.shape[-2] // key.shape[-2]  # several heads of queries may share one of keys
        keys, values = (jnp.repeat(x, groups, axis=-2) if groups > 1 else x for x in (key, value))
        weights = _named(functools.partial(_weights, bias=bias, mask=mask, **known))(query, keys)
        return jnp.einsum("...hqk,...khd->...qhd", weights, values.astype(weights.dtype)).astype(query.dtype)

    return attention


_XLA = ("implementation", "xla")


def _weights(query: Any, key: Any, *, bias: Any, mask: Any, scale: float | None = None, is_causal: bool = False) -> Any:
    """Return `softmax(scale * q k^T + bias)`, in float32 as `jax.nn.dot_product_attention` does."""
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key, preferred_element_type=jnp.float32)
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias.astype(scores.dtype)
    if is_causal:
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        mask = causal if mask is None else jnp.logical_and(mask, causal)
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.asarray(-0.7 * float(jnp.finfo(scores.dtype).max), scores.dtype))
    return jax.nn.softmax(scores, axis=-1).astype(query.dtype)
