"""What an objective is: a pytree that maps activations to a scalar to be maximised, and its algebra."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxlens._checks import check_int, shortened
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._values import check_layer, numbers

Activations = Mapping[str, Any]  # by layer, and what stands under the names below

# What an objective finds beside the activations of its layers.
STEP = "step"  # the number of the step: a render counts from 0, and `evaluate` is after every step
MEMORY = "memory"  # what `remember` returned at the step before; zeros at the first
NETWORK = "network"  # `(layers, interceptors, batch, rule) -> activations`: another pass, of one of the images


class Objective:
    """Maps activations to a scalar that rendering *maximises*.

    An objective is a pytree. Channel numbers, vectors and weights are leaves, so that sweeping them never
    recompiles; layer names are structure. A leaf with one axis more than it needs makes a *batch of tasks*:
    `channel("mixed4a", range(512))` is 512 objectives.

    Objectives combine with `+ - * / **` and numbers, or with each other. Penalties carry a negative
    weight where they are used: `channel("mixed4a", 3) - 1e-3 * total_variation()`. This reads as in Lucid and
    Lucent; unlike Lucent, whose objectives are losses inside, a score here is the quantity itself.
    """

    __array_ufunc__ = None  # so that `array * objective` comes here, and not to NumPy element by element

    def __post_init__(self) -> None:
        """Checks what objectives of every kind have; not when JAX rebuilds them."""
        if hasattr(self, "layer"):
            check_layer(getattr(self, "layer"))  # noqa: B009
        for name in ("batch", "comp_batch"):
            if getattr(self, name, None) is not None:
                check_int(getattr(self, name), name, low=0)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose activations `__call__` reads, each once."""
        own = (getattr(self, "layer"),) if hasattr(self, "layer") else ()  # noqa: B009
        return tuple(dict.fromkeys([*own, *(name for child in children(self) for name in child.layers)]))

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        """The score, given `{layer: [B, H, W, C] or [B, C]}` for the B images of one task."""
        raise NotImplementedError

    def remember(self, activations: Activations) -> dict[str, Array]:
        """What the next step should find under `activations[MEMORY]`, besides what the parts of this objective want."""
        return {}

    def describe(self, task: int = 0) -> str:
        """A short name such as "mixed4a:3", of one task of a batch."""
        raise NotImplementedError

    def bind(self, model: Any) -> "Objective":
        """The same objective with the model's own layer names, and class names looked up."""
        return rebuild(self, lambda child: child.bind(model), lambda leaf, _: leaf, model.resolve)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        """Raises ValueError for what JAX would clamp silently: a channel, position or image that is not there.

        Args:
            shapes: output shape of each layer for one image, at the size the network sees.
            images: how many images one task has.
        """
        batch = getattr(self, "batch", None)
        if batch is not None and not 0 <= batch < images:
            raise ValueError(
                f"batch={batch} is outside 0..{images - 1}: a task has {images} image(s); see `param.image(batch=...)`."
            )
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
        if not isinstance(divisor, Tracer) and not np.asarray(divisor).all():
            raise ZeroDivisionError(f"objective / {other!r}: an objective cannot be divided by 0.")
        return self * (1.0 / divisor)

    def __rtruediv__(self, other: Any) -> "Objective":
        return (self**-1.0) * other

    def __pow__(self, power: Any) -> "Objective":
        return Power(inner=self, power=_number(power))

    @staticmethod
    def sum(objectives: Iterable["Objective"]) -> "Objective":
        """The sum of many objectives, as one node."""
        terms = tuple(objectives)
        if not terms:
            raise ValueError("objectives is empty: a sum needs at least one objective.")
        return Sum(terms=terms)


def _number(value: Any) -> Array:
    if not isinstance(value, int | float | np.number | np.ndarray | jax.Array):
        raise TypeError(
            f"An objective combines with numbers, arrays of one number per task, and objectives, not with {value!r}."
        )
    return numbers(value, "The number beside an objective")  # strongly typed: a Python float would be another trace


def as_term(value: Any) -> "Objective":
    return value if isinstance(value, Objective) else Constant(value=_number(value))


@pytree
class Constant(Objective):
    """A number, so that `objective + 3` is an objective."""

    value: Float[Array, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return self.value

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
    weight: Float[Array, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return self.weight * self.inner(activations)

    def describe(self, task: int = 0) -> str:
        weight, inner = pick(self.weight, task, 0), self.inner.describe(task)
        sign = "-" if weight == -1 else f"{weight:.4g}*"
        return sign + (f"({inner})" if " + " in inner or " - " in inner else inner)


@pytree
class Power(Objective):
    """An objective to a power."""

    inner: Objective
    power: Float[Array, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return self.inner(activations) ** self.power

    def describe(self, task: int = 0) -> str:
        return f"({self.inner.describe(task)})**{pick(self.power, task, 0):.4g}"


def pick(leaf: Any, task: int, rank: int) -> Any:
    """The value of a leaf for one task: leaves without a batch axis serve every task."""
    value = np.asarray(leaf)
    return value[task] if value.ndim > rank else value


def children(objective: Objective) -> list[Objective]:
    """The objectives directly inside one."""
    values = [getattr(objective, f.name) for f in dataclasses.fields(objective)]  # type: ignore[arg-type]
    flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    return [item for item in flat if isinstance(item, Objective)]


def memories(objective: Objective, activations: Activations) -> dict[str, Array]:
    """What an objective and all its parts remember."""
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
    """A copy with children, array leaves (given with their unbatched rank) and layer names replaced."""
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(objective):  # type: ignore[arg-type]
        value = getattr(objective, f.name)
        if f.name == "layer":
            changes[f.name] = on_layer(value)
        elif f.metadata.get("rank") is not None and value is not None:
            changes[f.name] = on_leaf(value, f.metadata["rank"])
        elif isinstance(value, Objective):
            changes[f.name] = on_child(value)
        elif isinstance(value, tuple) and any(isinstance(item, Objective) for item in value):
            changes[f.name] = tuple(on_child(item) for item in value)
    return dataclasses.replace(objective, **changes)  # type: ignore[type-var]


def task_count(objective: Objective) -> int | None:
    """How many tasks an objective holds, or None for a single one without a batch axis.

    Raises:
        ValueError: if its parts hold different numbers of tasks.
    """
    sizes: dict[int, str] = {}

    def visit(node: Objective) -> Objective:
        def leaf(value: Any, rank: int) -> Any:
            ndim = jnp.ndim(value)
            if ndim not in (rank, rank + 1):
                raise ValueError(
                    f"{type(node).__name__} got an array of shape {jnp.shape(value)}, but {rank} axes are needed, "
                    f"or {rank + 1} for a batch of tasks."
                )
            if ndim == rank + 1:
                sizes.setdefault(jnp.shape(value)[0], type(node).__name__)
            return value

        return rebuild(node, visit, leaf)

    visit(objective)
    if len(sizes) > 1:
        raise ValueError(
            f"The parts of the objective are batches of different lengths: {sizes}. Use one length, or one value for all tasks."
        )
    if 0 in sizes:
        raise ValueError("The objective is an empty batch: give at least one channel.")
    return next(iter(sizes), None)


def batched(objective: Objective, count: int) -> Any:
    """The same objective with the task axis written out on every leaf, as NumPy arrays."""

    def leaf(value: Any, rank: int) -> np.ndarray:
        array = np.asarray(value)
        return array if array.ndim == rank + 1 else np.broadcast_to(array, (count, *array.shape))

    return rebuild(objective, lambda child: batched(child, count), leaf)


def stack(objectives: Any) -> Any:
    """Objectives of one structure as one batch of tasks.

    Raises:
        ValueError: if their structures (kinds, layers) differ; render a list of objectives instead.
    """
    if not isinstance(objectives, list | tuple) or not all(isinstance(each, Objective) for each in objectives):
        raise TypeError(f"objectives={shortened(objectives)} must be a list of objectives.")
    parts = [batched(o, task_count(o) or 1) for o in objectives]
    structures = {jax.tree.structure(part) for part in parts}
    if len(structures) != 1:
        raise ValueError("Objectives of different kinds or layers cannot be one batch; pass them to `render` as a list.")
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
