"""One pass through the network for the values, the score and the score's gradients at several layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import pytree
from jaxlens.attribution._entry import varying
from jaxlens.attribution._fold import in_chunks
from jaxlens.attribution._query import Query, _score
from jaxlens.model._model import run
from jaxlens.model._sites import Site


@pytree
class Offsets:
    """An interceptor that adds to what several layers output: `interceptors.perturb` for many at once."""

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
class Looked:
    """What one pass found: by layer, the values and the gradients of the scores (none if they were not asked for)."""

    values: dict[str, Any]
    scores: Float[Array, " b"]
    gradients: dict[str, Any]


def look(query: Query, layers: tuple[str, ...], chunk: int | None, *, gradient: bool = True) -> Looked:
    """Values, scores and gradients at `layers`, which the target may or may not read; `chunk` images at a time."""
    return in_chunks(_look, query, chunk, layers, gradient)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _look(query: Query, layers: tuple[str, ...], gradient: bool) -> Looked:
    names = tuple(dict.fromkeys([*query.target.layers, *layers]))

    def seen(deltas: dict[str, Any]) -> tuple[Any, Any]:
        found = run(query.model, query.images, names, (Offsets(deltas=deltas),))
        return jax.vmap(_score)(query.target, found), {name: found[name] for name in layers}

    if not gradient:
        scores, values = seen({})
        return Looked(values=values, scores=scores, gradients={})
    shapes = query.model.shapes(image_size(query), layers)
    zeros = {name: jnp.zeros((query.count, *shapes[name]), query.images.dtype) for name in layers}
    scores, back, values = jax.vjp(seen, varying(zeros, query.images), has_aux=True)
    return Looked(values=values, scores=scores, gradients=back(jnp.ones_like(scores))[0])


def image_size(query: Query) -> tuple[int, int]:
    """(height, width) of the images."""
    return query.images.shape[1], query.images.shape[2]
