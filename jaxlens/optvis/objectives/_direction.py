"""Objectives on directions in the space of a layer's channels: along them, at an angle to them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import at, check_place, check_vector, maps, norm
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._types import Numbers, Values, Wholes
from jaxlens.optvis.objectives._values import Leaf, indices, numbers, on_host


@pytree
class Direction(Objective):
    """The activation along a direction; see `direction` and `direction_neuron`."""

    vector: Float[Leaf, " c"] = field(rank=1)
    cossim_pow: Float[Leaf, ""] = field(rank=0)
    x: Int[Leaf, ""] | None = field(rank=0, default=None)
    y: Int[Leaf, ""] | None = field(rank=0, default=None)
    layer: str = field(role="layer")
    neuron: bool = field(static=True, default=False)
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        return dot_cossim(at(a, self.x, self.y) if self.neuron else a, self.vector, self.cossim_pow)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_vector(self.vector, shapes[self.layer], self.layer, "vec")
        if self.neuron:
            check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:direction"


@pytree
class TensorDirection(Objective):
    """The activation along a direction of its own at each position; see `tensor_direction`."""

    vector: Float[Leaf, "h w c"] = field(rank=3)
    cossim_pow: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        height, width = self.vector.shape[:2]
        top, left = (a.shape[1] - height) // 2, (a.shape[2] - width) // 2
        return dot_cossim(a[:, top : top + height, left : left + width], self.vector, self.cossim_pow)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        shape, own = shapes[self.layer], self.vector.shape[-3:]
        if len(shape) != 3 or own[2] != shape[2] or own[0] > shape[0] or own[1] > shape[1]:
            raise ValueError(f"vec has shape {own}, but layer {self.layer!r} has {shape}: give [h, w, C] that fits inside.")

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:tensor"


@pytree
class Cosine(Objective):
    """The angle to a direction; see `direction_cossim`."""

    vector: Float[Leaf, " c"] = field(rank=1)
    cossim_pow: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        cosine = (a * self.vector.reshape(1, 1, 1, -1)).sum(-1) / (1e-4 + norm(a)) / (1e-4 + norm(self.vector))
        return (cosine * jnp.maximum(cosine, 0.1) ** self.cossim_pow).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_vector(self.vector, shapes[self.layer], self.layer, "vec")

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:cosine"


@pytree
class AngledNeuron(Objective):
    """A direction at one position, with weight on the angle; see `angled_neuron_direction`."""

    vector: Float[Leaf, " c"] = field(rank=1)
    cossim_pow: Float[Leaf, ""] = field(rank=0)
    x: Int[Leaf, ""] | None = field(rank=0, default=None)
    y: Int[Leaf, ""] | None = field(rank=0, default=None)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = at(maps(activations, self.layer, self.batch), self.x, self.y)
        dot = (a * self.vector[None]).mean(-1)
        return (dot * jnp.maximum(dot / (1e-4 + norm(a)), 0.1) ** self.cossim_pow).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_vector(self.vector, shapes[self.layer], self.layer, "vec")
        check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:angled"


def dot_cossim(a: Float[Array, "... c"], vector: Float[Leaf, "*hw c"], power: Float[Leaf, ""]) -> Float[Array, ""]:
    """Mean of `d * max(0.1, d / (|a| |v|)) ** power` with `d = a . v`: Lucid's `_dot_cossim`.

    Each norm gets an epsilon of 1e-4. The vector is one for all positions, or one for each.
    """
    if vector.ndim == 1:
        dot = jnp.dot(a, vector, precision=jax.lax.Precision.HIGHEST)
    else:
        vector = vector[None]
        dot = (a * vector).sum(-1)
    # The epsilon is that of lucid/optvis/objectives.py.
    cosine = dot / (1e-4 + norm(a)) / (1e-4 + jnp.linalg.norm(vector, axis=-1))
    return (dot * jnp.maximum(cosine, 0.1) ** power).mean()


def direction(layer: Text, vec: Values, cossim_pow: Numbers = 0.0, batch: Whole | None = None) -> Objective:
    """Activation along a direction in the space of channels.

    The mean of `dot * max(0.1, cosine) ** cossim_pow` over images and positions.

    Args:
        layer, batch: as in `channel`.
        vec: `[C]`, or `[N, C]` for a batch of tasks.
        cossim_pow: 0 is the plain dot product (Lucid's default). A larger power asks for the angle
            more than for the size. Lucent's `direction` is the cosine alone, see
            `direction_cossim`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.direction("mixed4a", [1.0, 0.0, -1.0])
        >>> float(objective({"mixed4a": jnp.full((1, 4, 4, 3), 2.0).at[..., 0].set(5.0)}))
        3.0
    """
    return _direction(layer, vec, cossim_pow, batch=batch)


def direction_neuron(
    layer: Text,
    vec: Values,
    x: Wholes | None = None,
    y: Wholes | None = None,
    cossim_pow: Numbers = 0.0,
    batch: Whole | None = None,
) -> Objective:
    """Activation along a direction at one position: `direction`, as `neuron` is `channel`.

    Args:
        layer, vec, cossim_pow, batch: as in `direction`.
        x, y: as in `neuron`.

    Example:
        >>> import numpy as np
        >>> from jaxlens.optvis import objectives
        >>> both = objectives.direction_neuron("mixed4a", np.eye(2, 256), x=[0, 7], y=4)
        >>> both.vector.shape, both.x.tolist()
        ((2, 256), [0, 7])
    """
    place = {k: None if v is None else indices(v, k) for k, v in (("x", x), ("y", y))}
    return _direction(layer, vec, cossim_pow, batch=batch, neuron=True, **place)


def _direction(layer: Any, vec: Any, cossim_pow: Any, **options: Any) -> Objective:
    return Direction(vector=numbers(vec, "vec", 1), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, **options)


def tensor_direction(layer: Text, vec: Values, cossim_pow: Numbers = 0.0, batch: Whole | None = None) -> Objective:
    """Activation along a direction of its own at each position; see `direction`.

    Args:
        layer, cossim_pow, batch: as in `direction`.
        vec: `[h, w, C]`, or `[N, h, w, C]` for a batch of tasks. If the layer's map is larger, its
            center is compared.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.tensor_direction("mixed4a", jnp.ones((2, 2, 3)))
        >>> float(objective({"mixed4a": jnp.ones((1, 4, 4, 3))}))
        3.0
    """
    return TensorDirection(
        vector=numbers(vec, "vec", 3), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, batch=batch
    )


def spatial_channel(layer: Text, target_map: Values, cossim_pow: Numbers = 0.0, batch: Whole | None = None) -> Objective:
    """Likeness of a layer's activations to a map: `a . map` at each position, mean over positions.

    faccent's `spatial_channel` and, with `cossim_pow`, its `spatial_channel_cosim`.

    Args:
        layer, cossim_pow, batch: as in `direction`.
        target_map: `[H, W, C]`, as `vec` of `tensor_direction`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> left = jnp.zeros((4, 4, 3)).at[:, :2, 0].set(1.0)  # channel 0 in the left half
        >>> objective = objectives.spatial_channel("mixed4a", left)
        >>> float(objective({"mixed4a": jnp.ones((1, 4, 4, 3))}))
        0.5
    """
    return tensor_direction(layer, numbers(target_map, "target_map", 3), cossim_pow, batch)


def direction_cossim(layer: Text, vec: Values, cossim_pow: Numbers = 0.0, batch: Whole | None = None) -> Objective:
    """Cosine of the angle to a direction: the mean of `cosine * max(0.1, cosine) ** cossim_pow`.

    The default is Lucent's `direction`. In Lucid this name is an alias of `direction`, whose
    default is the dot product.

    Args:
        layer, vec, batch: as in `direction`.
        cossim_pow: a power above 0 asks most for the positions that are aligned already.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.direction_cossim("mixed4a", [1.0, 0.0])
        >>> cosine = objective({"mixed4a": jnp.full((1, 4, 4, 2), 7.0)})
        >>> round(float(cosine), 2)
        0.71
    """
    return Cosine(vector=numbers(vec, "vec", 1), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, batch=batch)


def angled_neuron_direction(
    layer: Text,
    vec: Values,
    S: Values | None = None,
    x: Wholes | None = None,
    y: Wholes | None = None,
    cossim_pow: Numbers = 4.0,
    batch: Whole | None = None,
) -> Objective:
    """Direction at one position, whitened, with weight on the angle, as atlases are drawn.

    `d * max(0.1, d / (1e-4 + |a|)) ** cossim_pow`, with `d` the mean over channels of
    `a * (vec @ S)`. Lucid's `direction_neuron_cossim_S` (the recipe of activation atlases) and
    captum's `AngledNeuronDirection`. As there, `d` is not divided by the length of `vec @ S`.

    Args:
        layer, x, y, batch: as in `direction_neuron`.
        vec: `[C]`, or `[N, C]` for a batch of tasks.
        S: `[C, C]`, the inverse correlation of activations; None is no whitening.
        cossim_pow: 4 in the atlases.

    Example:
        >>> import numpy as np
        >>> from jaxlens.optvis import objectives
        >>> seen = np.random.default_rng(0).normal(size=(100, 8))  # activations at many positions
        >>> S = np.linalg.inv(seen.T @ seen / len(seen))
        >>> cells = objectives.angled_neuron_direction("mixed4a", seen[:5], S)
        >>> cells.vector.shape
        (5, 8)
    """
    vector = numbers(vec, "vec", 1)
    if S is not None:
        square = numbers(S, "S", 2)
        if square.shape != (vector.shape[-1],) * 2:
            raise ValueError(f"S has shape {square.shape}, but vec has {vector.shape[-1]} entries: a square matrix is needed.")
        vector = on_host(jnp.matmul(vector, square, precision="highest"))
    return AngledNeuron(
        vector=vector,
        cossim_pow=numbers(cossim_pow, "cossim_pow"),
        x=None if x is None else indices(x, "x"),
        y=None if y is None else indices(y, "y"),
        layer=layer,
        batch=batch,
    )
