"""Scores of images with parts taken away: what every perturbation method needs."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import pytree
from jaxlens.attribution._batches import accumulate
from jaxlens.attribution._query import Query


class Masks(Protocol):
    """Many masks, made where they are needed.

    A mask of 1 keeps a value, 0 puts the baseline in its place.
    """

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Float[Array, "n *axes"]:
        """Return masks number `number` of images `image`.

        They broadcast to the values of `query`, which is of these n images.
        """
        ...


@pytree
class GivenMasks:
    """Masks in an array: `[S, ...]` for all images."""

    each: Float[Array, "s *axes"]

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Any:
        return self.each[number]


@pytree
class FeatureMasks:
    """Masks of whole features.

    `keep` is `[S, F]`, or `[B, S, F]`: which features are kept. `features` numbers each value's
    feature, -1 for none.
    """

    keep: Float[Array, "*bs f"]
    features: Any  # int [..., broadcastable to one image's values] or [B, ...]

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Any:
        keep = self.keep[number] if self.keep.ndim == 2 else self.keep[image, number]
        padded = jnp.concatenate([keep, jnp.ones_like(keep[:, :1])], axis=1)  # -1 is always kept
        if self.features.ndim == query.values.ndim:
            return jax.vmap(lambda row, features: row[features])(padded, self.features[image])
        return padded[:, self.features]


def masked_scores(
    query: Query, masks: Any, samples: int, *, batch_size: int | None, progress: bool, label: str
) -> Float[Array, "b s"]:
    """Return `score(m x + (1 - m) x')` for `samples` masks m of each image."""
    state = jnp.zeros((query.count, samples), jnp.float32)
    return accumulate(_fill, query, masks, state, samples, batch_size=batch_size, progress=progress, label=label)


def _fill(query: Query, masks: Any, image: jax.Array, number: jax.Array, alive: jax.Array, state: jax.Array) -> jax.Array:
    # Places beyond the last evaluation write its score again.
    return state.at[image, number].set(query.scores(blend(query, masks.masks(query, image, number))).astype(state.dtype))


def blend(query: Query, mask: Any) -> jax.Array:
    """Return the values where the mask is 1, the baseline where it is 0."""
    mask = jnp.broadcast_to(mask, query.values.shape).astype(query.values.dtype)
    return mask * query.values + (1 - mask) * query.baseline
