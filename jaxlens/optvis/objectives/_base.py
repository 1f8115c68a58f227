"""`Objective`, a pytree that maps activations to a score to maximize, and its algebra."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_int, is_known, shortened
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._types import Objectives
from jaxlens.optvis.objectives._values import Leaf, check_layer, numbers

Activations = Mapping[str, Any]  # by layer, and what stands under the names below

# What an objective finds beside the activations of its layers.
STEP = "step"  # the number of the step: a render counts from 0, and in `evaluate` it is infinite
MEMORY = "memory"  # what `remember` returned at the step before; zeros at the first
# A function `(layers, interceptors, batch, rule) -> activations`: another pass, of one image.
NETWORK = "network"


class Objective:
    """A score to *maximize*, as a function of activations.

    Objectives combine with `+ - * / **` and numbers, or with each other. Penalties carry a negative
    weight where they are used: `channel("mixed4a", 3) - 1e-3 * total_variation()`. This reads as in
    Lucid and Lucent. Unlike in Lucent, whose objectives are losses inside, a score is the quantity
    itself.

    An objective is a pytree. Channel numbers, vectors and weights are leaves, so that a sweep over
    them never recompiles. Layer names are structure. A leaf with one axis more than it needs makes
    a *batch of tasks*: `channel("mixed4a", range(512))` is 512 objectives.

    A class of objectives says at each field what it holds:

    - `field(rank=1)`: a leaf, and the number of its axes for one task;
    - `field(role="layer")`: the name of a layer that it reads, or a tuple of names. `layers` lists
      them, and `bind` turns them into the model's own;
    - `field(role="image")`: the index of one of a task's images, or None. `check` refuses an image
      that is not there;
    - a field that holds an `Objective`, or a tuple of them: its parts.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.channel("mixed4a", range(512)) - 0.5 * objectives.L2()
        >>> objective.layers
        ('mixed4a', 'input')
        >>> objective.describe(task=3)
        'mixed4a:3 - 0.5*L2(input, 0)'
    """

    __array_ufunc__ = None  # so that `array * objective` comes here, not to NumPy element by element

    def __post_init__(self) -> None:
        """Check what objectives of every kind have; JAX does not call it when it rebuilds them."""
        for name in _layers_read(self):
            check_layer(name)
        for name, image in _with_role(self, "image"):
            if image is not None:
                check_int(image, name, low=0)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose activations `__call__` reads, each once."""
        parts = (name for child in children(self) for name in child.layers)
        return tuple(dict.fromkeys([*_layers_read(self), *parts]))

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        """Return the score of one task's B images, given `{layer: [B, H, W, C] or [B, C]}`."""
        raise NotImplementedError

    def remember(self, activations: Activations) -> dict[str, Array]:
        """Return what the next step finds under `activations[MEMORY]`, that of the parts aside."""
        return {}

    def describe(self, task: int = 0) -> str:
        """Return a short name such as "mixed4a:3", of one task of a batch."""
        raise NotImplementedError

    def bind(self, model: Any) -> "Objective":
        """Return the same objective with the model's layer names, and class numbers for labels."""
        return rebuild(self, lambda child: child.bind(model), lambda leaf, _: leaf, model.resolve)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        """Raise for what JAX would clamp silently: a channel, position or image that is not there.

        Args:
            shapes: output shape of each layer for one image, at the size the network sees.
            images: number of images of one task.

        Raises:
            ValueError: names the value and the legal range.
        """
        check_image_numbers(self, images)
        for child in children(self):
            child.check(shapes, images)

    def __add__(self, other: Any) -> "Objective":
        return Sum(terms=(self, as_term(other)))

    def __radd__(self, other: Any) -> "Objective":
        # `sum([...])` starts from 0, which must not become part of the structure.
        return self if isinstance(other, int | float) and other == 0 else Sum(terms=(as_term(other), self))

    def __neg__(self) -> "Objective":
        return -1.0 * self

    def __sub__(self, other: Any) -> "Objective":
        return self + (-as_term(other))

    def __rsub__(self, other: Any) -> "Objective":
        return as_term(other) + (-self)

    def __mul__(self, other: Any) -> "Objective":
        return Product(factors=(self, other)) if isinstance(other, Objective) else Scaled(inner=self, weight=_number(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Objective":
        if isinstance(other, Objective):
            return Product(factors=(self, other**-1.0))
        divisor = _number(other)
        if is_known(divisor) and not np.asarray(divisor).all():
            raise ZeroDivisionError(f"objective / {other!r}: an objective cannot be divided by 0.")
        with np.errstate(over="ignore"):  # the product refuses what is not finite
            return self * (1.0 / divisor)

    def __rtruediv__(self, other: Any) -> "Objective":
        return (self**-1.0) * other

    def __pow__(self, power: Any) -> "Objective":
        return Power(inner=self, power=_number(power))

    @staticmethod
    def sum(objectives: Iterable["Objective"]) -> "Objective":
        """Return the sum of many objectives, as one node."""
        terms = tuple(objectives)
        if not terms:
            raise ValueError("objectives is empty: a sum needs at least one objective.")
        return Sum(terms=terms)


def _number(value: Any) -> Leaf:
    if not isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(
            f"An objective combines with numbers, arrays of one number per task, and objectives, not with {value!r}."
        )
    # Strongly typed: a Python float would be another trace.
    return numbers(value, "The number beside an objective")


def as_term(value: Any) -> "Objective":
    """Return an objective as it is, and a number as a `Constant`."""
    return value if isinstance(value, Objective) else Constant(value=_number(value))


@pytree
class Constant(Objective):
    """A number, so that `objective + 3` is an objective."""

    value: Float[Leaf, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.asarray(self.value)

    def describe(self, task: int = 0) -> str:
        return f"{pick(self.value, task, 0):.4g}"


@pytree
class Sum(Objective):
    """The sum of its terms."""

    terms: tuple[Objective, ...]

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.stack([term(activations) for term in self.terms]).sum()

    def describe(self, task: int = 0) -> str:
        return " + ".join(term.describe(task) for term in self.terms).replace("+ -", "- ")


@pytree
class Product(Objective):
    """The product of its factors."""

    factors: tuple[Objective, ...]

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.stack([factor(activations) for factor in self.factors]).prod()

    def describe(self, task: int = 0) -> str:
        return " * ".join(f"({factor.describe(task)})" for factor in self.factors)


@pytree
class Scaled(Objective):
    """A number times an objective."""

    inner: Objective
    weight: Float[Leaf, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return self.inner(activations) * self.weight

    def describe(self, task: int = 0) -> str:
        weight, inner = pick(self.weight, task, 0), self.inner.describe(task)
        sign = "-" if weight == -1 else f"{weight:.4g}*"
        return sign + (f"({inner})" if " + " in inner or " - " in inner else inner)


@pytree
class Power(Objective):
    """An objective to a power."""

    inner: Objective
    power: Float[Leaf, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return self.inner(activations) ** self.power

    def describe(self, task: int = 0) -> str:
        return f"({self.inner.describe(task)})**{pick(self.power, task, 0):.4g}"


def pick(leaf: Any, task: int, rank: int) -> Any:
    """Return the value of a leaf for one task: a leaf without a batch axis serves every task."""
    value = np.asarray(leaf)
    return value[task] if value.ndim > rank else value


def _with_role(objective: Objective, role: str) -> list[tuple[str, Any]]:
    """List the fields that have a role, as pairs (name of the field, value)."""
    fields = dataclasses.fields(objective)  # type: ignore[arg-type]
    return [(f.name, getattr(objective, f.name)) for f in fields if f.metadata.get("role") == role]


def _layers_read(objective: Objective) -> list[Any]:
    """List the layers that the objective reads, without those of its parts; not yet checked."""
    held = [value for _, value in _with_role(objective, "layer")]
    return [name for value in held for name in (value if isinstance(value, tuple) else (value,))]


def check_image_numbers(objective: Objective, images: int) -> None:
    """Raise ValueError where an objective, its parts aside, reads an image that is not there."""
    for name, image in _with_role(objective, "image"):
        if image is not None and not 0 <= image < images:
            raise ValueError(
                f"{name}={image} is outside 0..{images - 1}: a task has {images} image(s); see `param.image(batch=...)`."
            )


def _parts(value: Any) -> list[Objective]:
    """List the objectives that a field holds."""
    return [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Objective)]


def children(objective: Objective) -> list[Objective]:
    """List the objectives directly inside one."""
    fields = dataclasses.fields(objective)  # type: ignore[arg-type]
    return [part for f in fields for part in _parts(getattr(objective, f.name))]


def leaves_with_rank(objective: Objective) -> Iterator[tuple[Objective, Any, int]]:
    """Walk the array leaves of an objective and its parts.

    Yields triples (the part that holds the leaf, the leaf, its number of axes for one task).
    """
    for f in dataclasses.fields(objective):  # type: ignore[arg-type]
        value = getattr(objective, f.name)
        if f.metadata.get("rank") is not None and value is not None:
            yield objective, value, f.metadata["rank"]
        for part in _parts(value):
            yield from leaves_with_rank(part)


def memories(objective: Objective, activations: Activations) -> dict[str, Array]:
    """Return what an objective and all its parts remember."""
    own = dict(objective.remember(activations))
    for child in children(objective):
        more = memories(child, activations)
        if own.keys() & more.keys():
            raise ValueError(f"Two parts of the objective remember the same, {', '.join(own.keys() & more.keys())}: use one.")
        own |= more
    return own


def remembers(objective: Objective) -> bool:
    """Whether an objective or one of its parts remembers anything."""
    return type(objective).remember is not Objective.remember or any(map(remembers, children(objective)))


def rebuild(
    objective: Objective,
    on_child: Callable[[Objective], Objective],
    on_leaf: Callable[[Any, int], Any],
    on_layer: Callable[[str], str] = lambda name: name,
) -> Any:
    """Return a copy with other parts, leaves (given with their unbatched rank) and layer names."""
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(objective):  # type: ignore[arg-type]
        value = getattr(objective, f.name)
        if f.metadata.get("role") == "layer":
            changes[f.name] = tuple(map(on_layer, value)) if isinstance(value, tuple) else on_layer(value)
        elif f.metadata.get("rank") is not None and value is not None:
            changes[f.name] = on_leaf(value, f.metadata["rank"])
        elif isinstance(value, Objective):
            changes[f.name] = on_child(value)
        elif _parts(value):
            changes[f.name] = tuple(on_child(item) for item in _parts(value))
    return dataclasses.replace(objective, **changes)  # type: ignore[type-var]


def task_count(objective: Objective) -> int | None:
    """Return how many tasks an objective holds, or None for a single one without a batch axis.

    Raises:
        ValueError: if its parts hold different numbers of tasks.
    """
    sizes: dict[int, str] = {}
    for part, leaf, rank in leaves_with_rank(objective):
        kind, shape = type(part).__name__, np.shape(leaf)
        if len(shape) not in (rank, rank + 1):
            raise ValueError(
                f"{kind} got an array of shape {shape}, but {rank} axes are needed, or {rank + 1} for a batch of tasks."
            )
        if len(shape) == rank + 1:
            sizes.setdefault(shape[0], kind)
    if len(sizes) > 1:
        raise ValueError(
            f"The parts of the objective are batches of different lengths: {sizes}. Use one length, or one value for all tasks."
        )
    if 0 in sizes:
        raise ValueError("The objective is an empty batch: give at least one channel.")
    return next(iter(sizes), None)


def batched(objective: Objective, count: int) -> Any:
    """Return the same objective with the task axis written out on every leaf, as NumPy arrays."""

    def leaf(value: Any, rank: int) -> np.ndarray:
        array = np.asarray(value)
        return array if array.ndim == rank + 1 else np.broadcast_to(array, (count, *array.shape))

    return rebuild(objective, lambda child: batched(child, count), leaf)


def stack(objectives: Objectives) -> Objective:
    """Return objectives of one structure as one batch of tasks.

    Args:
        objectives: a list or tuple of objectives, each of one task or several.

    Raises:
        ValueError: if their structures (kinds, layers) differ; render a list of objectives instead.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> single, pair = objectives.channel("mixed4a", 3), objectives.channel("mixed4a", [0, 1])
        >>> tasks = objectives.stack([single, pair])
        >>> [tasks.describe(task) for task in range(3)]
        ['mixed4a:3', 'mixed4a:0', 'mixed4a:1']
    """
    if not isinstance(objectives, list | tuple) or not all(isinstance(each, Objective) for each in objectives):
        raise TypeError(f"objectives={shortened(objectives)} must be a list of objectives.")
    parts = [batched(o, task_count(o) or 1) for o in objectives]
    structures = {jax.tree.structure(part) for part in parts}
    if len(structures) != 1:
        raise ValueError("Objectives of different kinds or layers cannot be one batch; pass them to `render` as a list.")
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
