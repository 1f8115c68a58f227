"""The one question that every method asks: how a score depends on the values at a layer."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import as_array, check_finite, check_images, check_some
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.attribution._entry import varying
from jaxlens.attribution._targets import OUTPUT, as_target, check_target
from jaxlens.model import Model, activations, check_model
from jaxlens.model._run import run
from jaxlens.model.interceptors import perturb, replace

INPUT = "input"
BASELINE = "a number, an image, one image each, or values of the layer"


@pytree
class Query:
    """A score as a function of the values at one layer, for each image of a batch.

    Images do not see each other: the gradient of the sum of scores is that of each. Everything but
    the model has an axis of images, so that `at` can pick, repeat and reorder them.
    """

    model: Model
    images: Float[Array, "b h w c"]
    values: Float[Array, "b *axes"]  # at the layer
    baseline: Float[Array, "b *axes"]  # at the layer
    target: Any  # an objective, one task per image
    layer: str = field(static=True)

    @property
    def count(self) -> int:
        """The number of images."""
        return self.images.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the images."""
        return self.images.shape[1], self.images.shape[2]

    def replace(self, **changes: Any) -> "Query":
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def at(self, index: Any) -> "Query":
        """Return the question for some of the images."""
        rest = jax.tree.map(lambda x: x[index], (self.images, self.values, self.baseline, self.target))
        return Query(model=self.model, layer=self.layer, **dict(zip(_PER_IMAGE, rest, strict=True)))

    def scores(self, values: Any) -> Float[Array, " b"]:
        """Return the scores where the layer has these values."""
        if self.layer == INPUT:
            return self.score(values)
        return self.score(self.images, (replace(self.layer, values),))

    def score(self, images: Any, interceptors: Sequence[Any] = ()) -> Float[Array, " b"]:
        """Return the scores of other images."""
        return jax.vmap(score_one)(self.target, run(self.model, images, self.target.layers, interceptors))

    def gradients(self, values: Any) -> tuple[Float[Array, " b"], Float[Array, "b *axes"]]:
        """Return the scores, and their gradients, where the layer has these values."""
        scores, back = jax.vjp(self.scores, values)
        return scores, back(jnp.ones_like(scores))[0]

    def values_and_gradients(self, images: Any) -> tuple[Any, Any, Any]:
        """Return the layer's values for other images, the scores, and their gradients at the layer.

        One pass gives all three.
        """
        if self.layer == INPUT:
            return images, *self.gradients(images)

        def perturbed(delta: Any) -> tuple[Any, Any]:
            names = tuple(dict.fromkeys([*self.target.layers, self.layer]))
            found = run(self.model, images, names, (perturb(self.layer, delta),))
            return jax.vmap(score_one)(self.target, found), found[self.layer]

        zero = varying(jnp.zeros((images.shape[0], *self.values.shape[1:]), self.values.dtype), images)
        scores, back, values = jax.vjp(perturbed, zero, has_aux=True)
        return values, scores, back(jnp.ones_like(scores))[0]


_PER_IMAGE = ("images", "values", "baseline", "target")


def score_one(target: Any, found: Any) -> jax.Array:
    """Return the score of one image; objectives see batches."""
    return target(jax.tree.map(lambda x: x[None], found))


def ask(model: Model, images: Images, target: Any, *, layer: str | None = None, baseline: Any = None) -> Query:
    """Check every argument of a method and return the query behind the call.

    Args:
        model, images, target, layer, baseline: see `attribution`.
    """
    images = check_some(check_images(images, channels=check_model(model).channels))
    name = INPUT if layer is None else model.resolve(layer)
    count, size = images.shape[0], images.shape[1:3]
    logits = activations(model.with_gradient_rule(None), images, [OUTPUT])[OUTPUT] if target is None else None
    objective = as_target(target, model, logits, count)
    names = objective.layers
    shapes = model.shapes((size[0], size[1]), tuple(dict.fromkeys([*names, name])))
    check_target(objective, shapes)
    check_path(model, name, names)
    shape = shapes[name]
    values = images if name == INPUT else activations(model.with_gradient_rule(None), images, [name])[name]
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(
            f"layer={name!r} of {model.name} outputs {values.dtype}, which has no gradient. Choose a layer of floats."
        )
    start = _baseline(model, images, baseline, name, shape)
    each = (images, values, start, objective)
    each = varying(each, (model, each))
    return Query(model=model, layer=name, **dict(zip(_PER_IMAGE, each, strict=True)))


def check_path(model: Model, layer: str, names: Sequence[str]) -> None:
    """Refuse a layer that no named layer depends on."""
    if not model.leads_to(layer, names):
        raise ValueError(
            f"layer={layer!r} is not on the way to the target, which reads {', '.join(map(repr, names))} of {model.name}: "
            "nothing it does could change the score. Choose a layer that comes before; `model.layers` is in order of execution."
        )


def _baseline(model: Model, images: jax.Array, baseline: Any, layer: str, shape: tuple[int, ...]) -> jax.Array:
    """Return the baseline at the layer, one per image.

    It is given there, or is what the layer makes of a baseline image.
    """
    count, image = images.shape[0], images.shape[1:]
    given = as_array(0.0 if baseline is None else baseline, "baseline", BASELINE).astype(images.dtype)
    check_finite(given, "baseline")
    if layer != INPUT and given.shape in (shape, (1, *shape), (count, *shape)):
        return jnp.broadcast_to(given, (count, *shape))
    if given.shape not in ((), image, (1, *image), images.shape):
        there = "" if layer == INPUT else f", or {shape} or {(count, *shape)} for layer {layer!r}"
        raise ValueError(
            f"baseline has shape {given.shape}, but must be a number, or of shape {image} or {tuple(images.shape)} as the "
            f"images{there}."
        )
    start = check_images(jnp.broadcast_to(given, images.shape), name="baseline", channels=model.channels)
    return start if layer == INPUT else activations(model.with_gradient_rule(None), start, [layer])[layer]
