"""Sums of gradients over samples: what path integrals and noisy gradients share."""

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._numerics import over
from jaxlens._pytree import pytree
from jaxlens.attribution._batches import accumulate
from jaxlens.attribution._query import Query

QUANTITIES: dict[str, Any] = {
    "gradient": lambda values, gradient: gradient,
    "saliency": lambda values, gradient: jnp.abs(gradient),
    "input_x_gradient": lambda values, gradient: values * gradient,
}


@runtime_checkable
class Sampler(Protocol):
    """Says where the gradient of sample number s of an image is taken, and how much it counts."""

    def sample(self, query: Query, index: jax.Array) -> "Sample":
        """Return the samples of n images with n sample numbers."""
        ...


@pytree
class Sample:
    """Where gradients are taken: at the layer of these images, or at these values of the layer."""

    images: Float[Array, "n h w c"] | None = None
    values: Float[Array, "n *axes"] | None = None
    weights: Float[Array, " n"]
    factor: Any = None  # of the gradient, if it has one


@pytree
class Totals:
    """Weighted sums over the samples of each image."""

    first: Float[Array, "b *axes"]
    second: Float[Array, "b *axes"] | None


def gradient_sums(
    query: Query,
    sampler: Sampler,
    samples: int,
    *,
    batch_size: int | None,
    progress: bool,
    label: str,
    quantity: str = "gradient",
    second: bool = False,
) -> Totals:
    """Return `sum w g` over the samples of each image, and `sum w g**2` if `second`.

    `quantity`, one of `QUANTITIES`, says what g is.
    """
    zero = jnp.zeros_like(query.values)
    state = Totals(first=zero, second=jnp.zeros_like(zero) if second else None)
    # By sample: what is drawn for a sample is drawn once for many images.
    return accumulate(
        _STEPS[quantity],
        query,
        sampler,
        state,
        samples,
        batch_size=batch_size,
        progress=progress,
        label=label,
        by_sample=True,
    )


def _add(
    query: Query,
    sampler: Sampler,
    image: jax.Array,
    sample: jax.Array,
    alive: jax.Array,
    state: Totals,
    *,
    quantity: Any,
) -> Totals:
    place = sampler.sample(query, sample)
    if place.images is None:
        values, gradient = place.values, query.gradients(place.values)[1]
    else:
        values, _, gradient = query.values_and_gradients(place.images)
    gradient = quantity(values, gradient)
    gradient = gradient if place.factor is None else place.factor * gradient
    weights = over(jnp.where(alive, place.weights, 0), gradient)

    def added(total: Any, terms: Any) -> Any:
        return total if total is None else total.at[image].add(terms)

    return Totals(first=added(state.first, weights * gradient), second=added(state.second, weights * jnp.square(gradient)))


_STEPS = {name: functools.partial(_add, quantity=quantity) for name, quantity in QUANTITIES.items()}
