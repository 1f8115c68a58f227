"""Objectives that ask the network what matters: caricatures through attribution."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Whole
from jaxlens.model.interceptors import perturb
from jaxlens.optvis.objectives._base import NETWORK, Activations, Objective, check_image_numbers, remembers
from jaxlens.optvis.objectives._parse import as_objective
from jaxlens.optvis.objectives._types import Layers, ObjectiveLike
from jaxlens.optvis.objectives._values import layer_names

FLOOR = 1e-12  # of the largest attribution, which is divided by


@pytree
class AttributionCompare(Objective):
    """A layer's activations weighed by their attribution; see `attribution_compare`.

    All layers in `through` must be there, but only the first one's values are used. The others are
    asked for in passes of their own.
    """

    toward: Objective
    rule: Any
    through: tuple[str, ...] = field(role="layer")
    # For each of `through`, whether the rule applies to the pass that starts there.
    ruled: tuple[bool, ...] = field(static=True, default=())
    batch: int = field(role="image")
    comp_batch: int = field(role="image")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        first = activations[self.through[0]]
        weights = jax.lax.stop_gradient(self._weights(activations[NETWORK]))
        return (first[self.comp_batch] * weights[0]).sum()

    def _weights(self, network: Any) -> Array:
        """Return `attr` of the first layer for the reference image, from the last layer to it."""
        value: Callable[[Activations], Array] = self.toward
        wanted, share = self.toward.layers, jnp.zeros(())
        for layer, ruled in reversed(list(zip(self.through, self.ruled, strict=True))):
            a = network((layer,), (), self.batch, None)[layer]
            rule = self.rule if ruled else None

            def score(delta: Array, layer: str = layer, value: Any = value, wanted: Any = wanted, rule: Any = rule) -> Array:
                return value(network(wanted, (perturb(layer, delta),), self.batch, rule))

            share = a * jax.grad(score)(jnp.zeros_like(a))
            share = jax.lax.stop_gradient(share / jnp.maximum(jnp.abs(share).max(), FLOOR))
            value, wanted = functools.partial(_shared, layer, share), (layer,)
        return share

    def bind(self, model: Any) -> "AttributionCompare":
        order = list(model.layers)
        through = tuple(sorted({model.resolve(name) for name in self.through}, key=order.index))
        toward = self.toward.bind(model)
        late = [name for name in toward.layers if name != "input" and order.index(name) < order.index(through[-1])]
        if late:
            raise ValueError(f"toward reads {late[0]!r}, which is computed before layer {through[-1]!r} of layers.")
        # The rule must know the whole way to the objective. Where it does not accept a part of the
        # way, it has nothing to change there.
        ruled = [self.rule is None or model.accepts_rule(self.rule, [layer]) for layer in through[1:]]
        return dataclasses.replace(self, through=through, ruled=(*ruled, True), toward=toward)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        check_image_numbers(self, images)
        self.toward.check(shapes, 1)  # the objective sees one image

    def describe(self, task: int = 0) -> str:
        return f"{self.toward.describe(task)} through {self.through[0]}"


def _shared(layer: str, share: Array, found: Activations) -> Array:
    """Return the sum of a layer's activations, each weighed by its share."""
    return (found[layer] * share).sum()


def attribution_compare(
    layers: Layers,
    toward: ObjectiveLike,
    batch: Whole = 1,
    comp_batch: Whole = 0,
    *,
    gradient_rule: Any = None,
) -> Objective:
    """Caricature of what matters to an objective: activations weighed by their attribution.

    `sum A[comp_batch] attr`, where `attr = A d toward / dA / max |A d toward / dA|` at the first of
    the layers, for image `batch`. With several layers the attribution is passed on from the last to
    the first: at each layer the objective becomes `sum A attr`, with the attribution of the layer
    after held fixed. The drawn image gets more of what made the other image count.

    From Lucid's notebook on attribution caricatures, where the gradient of max-pools is relaxed for
    both. Differs from it in the division by the largest absolute value (Lucid: the largest value,
    which may be 0 or negative).

    Args:
        layers: one name or several, in any order. The drawn image is caricatured at the first to be
            computed.
        toward: an objective, or a string such as "logits:3", on what comes after the layers.
        batch, comp_batch: the image whose attribution is taken, and the image that is drawn. Both
            see the same transforms.
        gradient_rule: a rule for the attribution, such as `rules.standard(pools="l2")`. None is the
            true gradient.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.attribution_compare(["mixed3a", "mixed4a"], "logits:3")
        >>> objective.describe()
        'logits:3 through mixed3a'
        >>> objective.layers
        ('mixed3a', 'mixed4a', 'logits')
    """
    names = layer_names(layers)
    batch, comp_batch = check_int(batch, "batch", low=0), check_int(comp_batch, "comp_batch", low=0)
    objective = as_objective(toward)
    if isinstance(objective, list):
        raise ValueError("toward is a list: attribute to one objective at a time.")
    if remembers(objective):
        raise ValueError(f"toward={objective.describe()} remembers earlier steps, which an attribution cannot.")
    if jax.tree.leaves(gradient_rule):
        raise ValueError(
            f"gradient_rule={gradient_rule!r} holds arrays: attributions take rules.standard, guided, deconvnet or linearized."
        )
    return AttributionCompare(toward=objective, rule=gradient_rule, through=names, batch=batch, comp_batch=comp_batch)
