"""Objectives on the channels of a layer: one, one at a position, all, and their diversity."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import at, check_place, check_range, maps, one_channel
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._types import Wholes
from jaxlens.optvis.objectives._values import Leaf, indices


@pytree
class Channel(Objective):
    """A channel's mean activation; see `channel`."""

    index: Int[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return one_channel(maps(activations, self.layer, self.batch).mean((0, 1, 2)), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "channel", self.layer)

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:{pick(self.index, task, 0)}"


@pytree
class Neuron(Objective):
    """A channel's activation at one position; see `neuron`."""

    index: Int[Leaf, ""] = field(rank=0)
    x: Int[Leaf, ""] | None = field(rank=0, default=None)
    y: Int[Leaf, ""] | None = field(rank=0, default=None)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return one_channel(at(maps(activations, self.layer, self.batch), self.x, self.y).mean(0), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "channel", self.layer)
        check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        place = ",".join("centre" if v is None else str(pick(v, task, 0)) for v in (self.x, self.y))
        return f"{self.layer}:{pick(self.index, task, 0)}@{place}"


@pytree
class DeepDream(Objective):
    """The mean of a layer's squared activations; see `deepdream`."""

    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.square(maps(activations, self.layer, self.batch)).mean()

    def describe(self, task: int = 0) -> str:
        return f"deepdream({self.layer})"


@pytree
class Diversity(Objective):
    """The similarity of a task's images; see `diversity`."""

    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        flat = a.reshape(a.shape[0], -1, a.shape[-1])
        gram = jnp.einsum("bpc,bpd->bcd", flat, flat, precision=jax.lax.Precision.HIGHEST)
        # The floor of tf.nn.l2_normalize, on the square of the norm.
        gram = gram * jax.lax.rsqrt(jnp.maximum(jnp.square(gram).sum((1, 2), keepdims=True), 1e-10))
        similarity = jnp.einsum("icd,jcd->ij", gram, gram, precision=jax.lax.Precision.HIGHEST)
        return (similarity.sum() - jnp.trace(similarity)) / a.shape[0]

    def describe(self, task: int = 0) -> str:
        return f"diversity({self.layer})"


def channel(layer: Text, n_channel: Wholes, batch: Whole | None = None) -> Objective:
    """Mean activation of a channel over images and positions.

    Args:
        layer: name as in `model.layers`.
        n_channel: the channel, or a list, range or array of channels for a batch of tasks.
        batch: read only this one of a task's images.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import objectives, render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> objective = objectives.channel("conv1", range(2))
        >>> result = render.render(model, objective, size=(24, 32), steps=2, progress=False)
        >>> result.names, result.images.shape
        (('conv1:0', 'conv1:1'), (2, 1, 24, 32, 3))
    """
    return Channel(index=indices(n_channel, "n_channel"), layer=layer, batch=batch)


def neuron(
    layer: Text,
    n_channel: Wholes,
    x: Wholes | None = None,
    y: Wholes | None = None,
    batch: Whole | None = None,
) -> Objective:
    """One neuron: a channel's activation at one position, mean over images.

    Args:
        layer, n_channel, batch: as in `channel`.
        x, y: column and row; by default the center (`W // 2`, `H // 2`). Lucid calls the row `x`,
            and Lucent takes the center of the wrong axis for images that are not square.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objectives.neuron("mixed4a", 3, x=2, y=5).describe()
        'mixed4a:3@2,5'
    """
    place = {k: None if v is None else indices(v, k) for k, v in (("x", x), ("y", y))}
    return Neuron(index=indices(n_channel, "n_channel"), layer=layer, batch=batch, **place)


def deepdream(layer: Text, batch: Whole | None = None) -> Objective:
    """Mean of a layer's squared activations: more of everything that the layer sees.

    Args:
        layer, batch: as in `channel`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> dream = objectives.deepdream("mixed4a")
        >>> float(dream({"mixed4a": jnp.full((1, 4, 4, 8), 3.0)}))
        9.0
    """
    return DeepDream(layer=layer, batch=batch)


def diversity(layer: Text) -> Objective:
    """Similarity of a task's images, by Gram matrices of a layer; use a negative weight.

    With `G_i` the L2-normalized Gram matrix of image i, `sum over i, j != i of <G_i, G_j> / B`. Use
    it with `param.image(..., batch=B)`, as in Lucid and Lucent.

    Args:
        layer: as in `channel`.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.channel("mixed4a", 3) - 1e2 * objectives.diversity("mixed4a")
        >>> objective.describe()
        'mixed4a:3 - 100*diversity(mixed4a)'
    """
    return Diversity(layer=layer)
