"""The compiled ascent step: one program over `vmap(task)`, whatever the channels, weights, keys and step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from jaxlens._pytree import pytree
from jaxlens.model import Model
from jaxlens.model._model import run
from jaxlens.optvis.objectives._schedule import STEP
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.transform import resize


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled step is specialised to, besides the structure and shapes of its arguments."""

    optimizer: optax.GradientTransformation
    resize_to: tuple[int, int] | None
    mesh: Mesh | None

    def over_tasks(self, fn: Callable[..., Any], per_task: tuple[bool, ...]) -> Callable[..., Any]:
        """`fn` with the arguments that have a task axis split over the devices.

        `shard_map` gives each device the program for its own tasks: nothing is exchanged.
        """
        if self.mesh is None:
            return fn
        specs = tuple(PartitionSpec("tasks") if each else PartitionSpec() for each in per_task)
        return jax.shard_map(fn, mesh=self.mesh, in_specs=specs, out_specs=PartitionSpec("tasks"), check_vma=False)


@pytree
class State:
    """One task's progress; with a leading axis, a batch of tasks."""

    theta: Any
    optimizer: Any
    alive: Array
    failed_at: Array


def score(
    model: Model, objective: Any, images: Float[Array, "b h w c"], seen: Float[Array, "b2 h2 w2 c2"], number: Array
) -> Float[Array, ""]:
    """An objective's value at a step where the network sees `seen`, and penalties see the plain `images`."""
    layers = tuple(layer for layer in objective.layers if layer != "input")
    activations = run(model, seen, layers) if layers else {}
    return objective(activations | {"input": images, STEP: number})


def _axis(param: Any) -> int | None:
    """Over which axis of a parameterization tasks are mapped; most serve all tasks."""
    return 0 if isinstance(param, Each) else None


def _task_score(
    theta: Any, program: Program, model: Model, param: Any, transforms: Any, number: Array, objective: Any, key: Array
) -> Float[Array, ""]:
    images = param.to_image(theta)
    seen = transforms(key, images)
    if program.resize_to is not None:
        seen = resize(*program.resize_to)(key, seen)
    return score(model, objective, images, seen, number)


@functools.partial(jax.jit, static_argnames=("program",))
def start(program: Program, param: Any, keys: Array) -> State:
    """The initial state of every task, each from its own key."""

    def one(param: Any, key: Array) -> State:
        theta = param.init(jax.random.fold_in(key, 0))
        return State(
            theta=theta, optimizer=program.optimizer.init(theta), alive=jnp.array(True), failed_at=jnp.array(-1, jnp.int32)
        )

    axis = _axis(param)
    return program.over_tasks(jax.vmap(one, (axis, 0)), (axis == 0, True))(param, keys)


@functools.partial(jax.jit, static_argnames=("program",))
def step(
    program: Program,
    model: Model,
    param: Any,
    transforms: Any,
    number: Array,
    objective: Any,
    keys: Array,
    state: State,
) -> tuple[State, Array, Array]:
    """One ascent step of every task: the new state, the scores before the update, and which tasks had no gradient at all.

    A task whose score, gradient or update is not finite keeps its last good image and stops; the others go on.
    """

    axis = _axis(param)

    def every(model: Model, param: Any, transforms: Any, number: Array, objective: Any, keys: Array, state: State) -> Any:
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1 + number)

        def value_of(model: Model, param: Any, theta: Any, objective: Any, key: Array) -> Array:
            return _task_score(theta, program, model, param, transforms, number, objective, key)

        # of the score, not of the loss: gradient rules rely on its sign
        gradient_of = jax.vmap(jax.value_and_grad(value_of, argnums=2), (None, axis, 0, 0, 0))
        value, gradient = gradient_of(model, param, state.theta, objective, keys)
        dead = state.alive & jax.vmap(_all_zero)(gradient)

        def update(param: Any, *rest: Any) -> State:
            return _update(program.optimizer, functools.partial(value_of, model, param), number, *rest)

        return jax.vmap(update, (axis, 0, 0, 0, 0, 0))(param, objective, keys, state, value, gradient), value, dead

    per_task = (False, axis == 0, False, False, True, True, True)
    return program.over_tasks(every, per_task)(model, param, transforms, number, objective, keys, state)


@jax.jit
def choose(which: Array, new: State, old: State) -> State:
    """The new state of the tasks where `which` holds, the old one of the others."""
    return _select(which, new, old)


def _update(
    optimizer: optax.GradientTransformation,
    value_of: Callable[..., Array],
    number: Array,
    objective: Any,
    key: Array,
    state: State,
    value: Array,
    gradient: Any,
) -> State:
    loss = jax.tree.map(jnp.negative, gradient)  # optax minimises
    updates, memory = optax.with_extra_args_support(optimizer).update(  # line searches want the value and the function
        loss, state.optimizer, state.theta, value=-value, grad=loss, value_fn=lambda theta: -value_of(theta, objective, key)
    )
    theta = optax.apply_updates(state.theta, updates)
    alive = state.alive & jnp.isfinite(value) & _all_finite(gradient) & _all_finite(theta)
    return State(
        theta=_select(alive, theta, state.theta),
        optimizer=_select(alive, memory, state.optimizer),
        alive=alive,
        failed_at=jnp.where(state.alive & ~alive, number.astype(jnp.int32), state.failed_at),
    )


def _select(which: Array, new: Any, old: Any) -> Any:
    """Leaf by leaf `new` where `which` holds, for one task or, with a leading axis, for each."""
    return jax.tree.map(lambda n, o: jnp.where(which.reshape(which.shape + (1,) * (n.ndim - which.ndim)), n, o), new, old)


def _all_zero(tree: Any) -> Array:
    return jnp.stack([(leaf == 0).all() for leaf in jax.tree.leaves(tree)]).all()


def _all_finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


@jax.jit
def decode(param: Any, theta: Any) -> Float[Array, "n b h w c"]:
    """The images of every task."""
    return jax.vmap(lambda param, theta: param.to_image(theta), (_axis(param), 0))(param, theta)


@functools.partial(jax.jit, static_argnames=("resize_to",))
def evaluate(
    model: Model, objective: Any, images: Float[Array, "n b h w c"], resize_to: tuple[int, int] | None
) -> Float[Array, " n"]:
    """Scores of finished images, without transforms."""

    def one(objective: Any, images: Array) -> Array:
        seen = images if resize_to is None else resize(*resize_to)(jax.random.key(0), images)
        return score(model, objective, images, seen, jnp.float32(jnp.inf))

    return jax.vmap(one)(objective, images)
