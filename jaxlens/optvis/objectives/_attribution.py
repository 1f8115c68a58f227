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
from jaxlens.model.interceptors import perturb
from jaxlens.optvis.objectives._base import NETWORK, Activations, Objective, remembers
from jaxlens.optvis.objectives._layer import check_range
from jaxlens.optvis.objectives._parse import as_objective
from jaxlens.optvis.objectives._values import layer_names

FLOOR = 1e-12  # below the largest attribution there is nothing to share out


@pytree
class AttributionCompare(Objective):
    """See `attribution_compare`."""

    toward: Objective
    rule: Any
    through: tuple[str, ...] = field(static=True)
    ruled: tuple[bool, ...] = field(static=True, default=())  # for which of these the rule applies to the pass that follows
    batch: int = field(static=True)
    comp_batch: int = field(static=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """All that must be there; only the first one's values are used, the others are asked for in passes of their own."""
        return tuple(dict.fromkeys([*self.through, *self.toward.layers]))

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        first = activations[self.through[0]]
        weights = jax.lax.stop_gradient(self._weights(activations[NETWORK]))
        return (first[self.comp_batch] * weights[0]).sum()

    def _weights(self, network: Any) -> Array:
        """`attr` of the first layer for the reference image, from the last layer to it."""
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
        # The rule must know the whole way to the objective. A part of it that it does not accept has nothing to change.
        ruled = [self.rule is None or model.accepts_rule(self.rule, [layer]) for layer in through[1:]]
        return dataclasses.replace(self, through=through, ruled=(*ruled, True), toward=toward)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        check_range(self.batch, images, "batch", self.through[0])
        check_range(self.comp_batch, images, "comp_batch", self.through[0])
        self.toward.check(shapes, 1)  # it sees the one image

    def describe(self, task: int = 0) -> str:
        return f"{self.toward.describe(task)} through {self.through[0]}"


def _shared(layer: str, share: Array, found: Activations) -> Array:
    """A layer's activations, each as much as its share."""
    return (found[layer] * share).sum()


def attribution_compare(
    layers: Any, toward: Any, batch: Any = 1, comp_batch: Any = 0, *, gradient_rule: Any = None
) -> Objective:
    """What a layer sees in an image, as far as it matters to an objective: an activation caricature through attribution.

    `sum A[comp_batch] attr`, where `attr = A d toward / dA / max |A d toward / dA|` at the first of the layers, for image
    `batch`. With several layers the attribution is passed on from the last to the first: at each layer the objective becomes
    `sum A attr` with the attribution of the one after, held fixed. The image drawn has more of what made the other one count.

    Args:
        layers: one name or several, in any order; the drawn image is caricatured at the first to be computed.
        toward: an objective, or a string such as "logits:3", on what comes after the layers.
        batch, comp_batch: the image whose attribution is taken, and the one drawn; both see the same transforms.
        gradient_rule: a rule for the attribution, such as `rules.standard(pools="l2")`; by default the true gradient.

    Lucid's notebook on attribution caricatures, where the gradient of max-pools is relaxed for both. Differs from it in the
    division by the largest absolute value (Lucid: the largest, which may be 0 or negative).
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
