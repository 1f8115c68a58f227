"""Scores of values at a layer; values, scores and gradients at several layers in one pass."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import pytree
from jaxlens.attribution._batches import in_batches
from jaxlens.attribution._entry import varying
from jaxlens.attribution._query import Query, score_one
from jaxlens.model._run import run
from jaxlens.model._sites import Site


def scores_of(query: Query, values: Any, batch_size: int | None) -> Float[Array, " b"]:
    """Return the scores where the layer has `values`, computed `batch_size` images at a time."""
    return in_batches(_scores, query, batch_size, values)


@jax.jit
def _scores(query: Query, values: Any) -> jax.Array:
    return query.scores(values)


@pytree
class Offsets:
    """An interceptor that adds to the output of several layers: `interceptors.perturb` for many."""

    deltas: dict[str, Any]

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if site.name not in self.deltas:
            return out
        if not jnp.issubdtype(out.dtype, jnp.floating):
            raise TypeError(f"layer={site.name!r} outputs {out.dtype}, which has no gradient. Choose a layer of floats.")
        return out + self.deltas[site.name].astype(out.dtype)

    def batch_axes(self) -> Any:
        return 0


@pytree
class LayerValues:
    """What one pass finds: by layer, the values and, if asked for, the gradients of the scores."""

    values: dict[str, Any]
    scores: Float[Array, " b"]
    gradients: dict[str, Any]


def values_and_gradients(
    query: Query, layers: tuple[str, ...], batch_size: int | None, *, gradient: bool = True
) -> LayerValues:
    """Return values, scores and gradients at `layers`, computed `batch_size` images at a time.

    The target need not read these layers.
    """
    return in_batches(_values_and_gradients, query, batch_size, layers, gradient)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _values_and_gradients(query: Query, layers: tuple[str, ...], gradient: bool) -> LayerValues:
    names = tuple(dict.fromkeys([*query.target.layers, *layers]))

    def seen(deltas: dict[str, Any]) -> tuple[Any, Any]:
        found = run(query.model, query.images, names, (Offsets(deltas=deltas),))
        return jax.vmap(score_one)(query.target, found), {name: found[name] for name in layers}

    if not gradient:
        scores, values = seen({})
        return LayerValues(values=values, scores=scores, gradients={})
    shapes = query.model.shapes(query.size, layers)
    zeros = {name: jnp.zeros((query.count, *shapes[name]), query.images.dtype) for name in layers}
    scores, back, values = jax.vjp(seen, varying(zeros, query.images), has_aux=True)
    return LayerValues(values=values, scores=scores, gradients=back(jnp.ones_like(scores))[0])
