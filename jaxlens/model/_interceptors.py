"""Interceptors: change what a layer outputs, on the way through the network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens.model._sites import Site


@pytree
class Ablate:
    """See `ablate`."""

    channels: Int[Array, " k"]
    value: Float[Array, "..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        return out.at[..., self.channels].set(self.value.astype(out.dtype)) if site.name == self.layer else out


@pytree
class Replace:
    """See `replace`."""

    value: Float[Array, "b ..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        return jnp.broadcast_to(self.value, out.shape).astype(out.dtype) if site.name == self.layer else out

    def batch_axes(self) -> Any:
        return 0 if self.value.shape[0] > 1 else None


@pytree
class Perturb:
    """See `perturb`."""

    delta: Float[Array, "b ..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        return out + self.delta.astype(out.dtype) if site.name == self.layer else out

    def batch_axes(self) -> Any:
        return 0 if self.delta.shape[0] > 1 else None


def ablate(layer: str, channels: Any, value: Any = 0.0) -> Ablate:
    """Sets some channels of a layer to `value` (a number, or one per channel) at every position.

    Channels are checked against the layer when the model is known: JAX would ignore one out of range.
    """
    return Ablate(channels=jnp.atleast_1d(jnp.asarray(channels, jnp.int32)), value=jnp.asarray(value, jnp.float32), layer=layer)


def replace(layer: str, value: Any) -> Replace:
    """Makes a layer output `value`, `[B, ...]` or `[1, ...]` for all images: activation patching."""
    return Replace(value=jnp.asarray(value), layer=layer)


def perturb(layer: str, delta: Any) -> Perturb:
    """Adds `delta`, `[B, ...]` or `[1, ...]`, to what a layer outputs.

    The gradient of a score with respect to a zero `delta` is its gradient at that layer.
    """
    return Perturb(delta=jnp.asarray(delta), layer=layer)


def bind(model: Any, interceptors: Sequence[Any]) -> tuple[Any, ...]:
    """Interceptors as pytrees with canonical layer names, checked against the model."""
    return tuple(_bind(model, interceptor) for interceptor in interceptors)


def _bind(model: Any, interceptor: Any) -> Any:
    if not isinstance(interceptor, Ablate | Replace | Perturb):
        if not callable(interceptor):
            raise TypeError(f"interceptors must be callables (site, call, *args) -> output, but got {interceptor!r}.")
        return interceptor if jax.tree.leaves(interceptor) != [interceptor] else jax.tree_util.Partial(interceptor)
    name = model.resolve(interceptor.layer)
    if isinstance(interceptor, Ablate) and not isinstance(interceptor.channels, Tracer):
        total = model.layers[name].channels
        bad = [int(c) for c in interceptor.channels if not 0 <= int(c) < total]
        if bad:
            raise ValueError(f"channels={bad} are outside 0..{total - 1} of layer {name!r} of {model.name}.")
    return type(interceptor)(**(vars(interceptor) | {"layer": name}))
