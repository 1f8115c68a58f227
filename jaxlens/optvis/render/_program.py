"""The compiled ascent step: one program over `vmap(task)`, whatever the channels, weights, keys and step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from jaxlens._pytree import pytree
from jaxlens.model import Model
from jaxlens.model._run import run
from jaxlens.optvis.objectives._base import MEMORY, NETWORK, STEP, memories, remembers
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.transform import resize

NEVER = 2**32 - 1  # no step has this number


@dataclasses.dataclass(frozen=True)
class Program:
    """What a compiled step is specialised to, besides the structure and shapes of its arguments."""

    optimizer: optax.GradientTransformation
    resize_to: tuple[int, int] | None
    mesh: Mesh | None
    draws: int = 1
    importance: bool = False

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
    memory: Any = dataclasses.field(default_factory=dict)
    importance: Any = None


def score(
    model: Model,
    objective: Any,
    images: Float[Array, "b h w c"],
    seen: Float[Array, "b2 h2 w2 c2"],
    number: Array,
    memory: Any = None,
) -> tuple[Float[Array, ""], Any]:
    """An objective's value at a step where the network sees `seen` and penalties see the plain `images`; and its memory."""
    layers = tuple(layer for layer in objective.layers if layer != "input")

    def network(layers: tuple[str, ...], interceptors: Any, batch: int, rule: Any) -> dict[str, Array]:
        one = slice(batch, batch + 1)
        found = run(model.replace(rule=rule), seen[one], tuple(n for n in layers if n != "input"), interceptors)
        return _float32(found) | {"input": images[one], STEP: number}

    activations = _float32(run(model, seen, layers)) if layers else {}
    activations |= {"input": images, STEP: number, NETWORK: network, MEMORY: memory or {}}
    return objective(activations), memories(objective, activations)


def _float32(activations: dict[str, Array]) -> dict[str, Array]:
    """Half-precision activations widened: objectives add up many."""
    return {name: x.astype(jnp.promote_types(x.dtype, jnp.float32)) for name, x in activations.items()}


def computed_once(x: Float[Array, "*shape"], number: Array) -> Float[Array, "*shape"]:
    """`x` itself, as an array that is written to memory, on a CPU; `number` is that of a step.

    XLA fuses the transforms into the resize that follows, and so computes each of their pixels a dozen times over; it drops
    `optimization_barrier` before it fuses. It cannot know that this branch is never taken.
    """
    if jax.default_backend() != "cpu":
        return x
    return lax.cond(number == jnp.asarray(NEVER, number.dtype), jnp.zeros_like, lambda x: x, x)


def _axis(param: Any) -> int | None:
    """Over which axis of a parameterization tasks are mapped; most serve all tasks."""
    return 0 if isinstance(param, Each) else None


def _task_score(
    images: Float[Array, "b h w c"],
    program: Program,
    model: Model,
    transforms: Any,
    number: Array,
    objective: Any,
    key: Array,
    memory: Any,
) -> tuple[Float[Array, ""], Any]:
    """The score of one task's images and its memory, each the mean over the draws of a step."""
    transforms = transforms.at(number)

    def one(key: Array) -> tuple[Array, Any]:
        seen = computed_once(transforms(key, images), number)
        if program.resize_to is not None:
            seen = resize(*program.resize_to)(key, seen)
        return score(model, objective, images, seen, number, memory)

    if program.draws == 1:
        return one(key)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(program.draws, dtype=jnp.uint32))
    return jax.tree.map(lambda leaf: leaf.mean(0), jax.vmap(one)(keys))


@functools.partial(jax.jit, static_argnames=("program",))
def start(program: Program, param: Any, keys: Array) -> State:
    """The initial state of every task, each from its own key."""

    def one(param: Any, key: Array) -> State:
        # copies, because steps take the state's memory: what a parameterization starts at may be the user's own array
        theta = jax.tree.map(jnp.copy, param.init(jax.random.fold_in(key, 0)))
        return State(
            theta=theta,
            optimizer=program.optimizer.init(theta),
            alive=jnp.array(True),
            failed_at=jnp.array(-1, jnp.int32),
            importance=jnp.zeros(param.shape[:3], jnp.float32) if program.importance else None,
        )

    axis = _axis(param)
    return program.over_tasks(jax.vmap(one, (axis, 0)), (axis == 0, True))(param, keys)


def blank_memory(program: Program, model: Model, param: Any, transforms: Any, objective: Any, keys: Array) -> Any:
    """Zeros of the shapes of what objectives remember, for every task; nothing for most objectives."""
    if not remembers(objective):
        return {}

    def one(param: Any, objective: Any, key: Array) -> Any:
        images = param.to_image(param.init(key))
        return _task_score(images, program, model, transforms, jnp.uint32(0), objective, key, None)[1]

    shapes = jax.eval_shape(jax.vmap(one, (_axis(param), 0, 0)), param, objective, keys)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@functools.partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
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
    The old state is gone: the new one is in its memory.
    """
    axis = _axis(param)

    def every(model: Model, param: Any, transforms: Any, number: Array, objective: Any, keys: Array, state: State) -> Any:
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1 + number)

        def one(model: Model, param: Any, objective: Any, key: Array, state: State) -> tuple[State, Array, Array]:
            def value_of(images: Array) -> tuple[Array, Any]:
                return _task_score(images, program, model, transforms, number, objective, key, state.memory)

            images, pull = jax.vjp(param.to_image, state.theta)
            # of the score, not of the loss: gradient rules rely on its sign
            (value, memory), slope = jax.value_and_grad(value_of, has_aux=True)(images)
            (gradient,) = pull(slope)
            after = dataclasses.replace(state, memory=memory)
            if program.importance:
                after = dataclasses.replace(after, importance=state.importance + jnp.abs(slope).mean(-1))
            after = _update(program.optimizer, lambda t: value_of(param.to_image(t))[0], after, value, gradient)
            alive = after.alive
            failed_at = jnp.where(state.alive & ~alive, number.astype(jnp.int32), state.failed_at)
            kept = dataclasses.replace(state, alive=alive, failed_at=failed_at)
            return _select(alive, after, kept), value, state.alive & _all_zero(gradient)

        return jax.vmap(one, (None, axis, 0, 0, 0))(model, param, objective, keys, state)

    per_task = (False, axis == 0, False, False, True, True, True)
    return program.over_tasks(every, per_task)(model, param, transforms, number, objective, keys, state)


def memory(program: Program, model: Model, param: Any, transforms: Any, objective: Any, keys: Array) -> int:
    """Bytes that a step of these tasks needs on each device besides the model's weights, as compiled.

    Nothing runs, and the step that does is not compiled again.
    """
    remembered = blank_memory(program, model, param, transforms, objective, keys)
    state = dataclasses.replace(jax.eval_shape(functools.partial(start, program), param, keys), memory=remembered)
    compiled = step.lower(program, model, param, transforms, jnp.uint32(0), objective, keys, state).compile()
    needs = compiled.memory_analysis()
    if needs is None:  # a backend that does not tell
        return 0
    # The compiler's size of the arguments includes the weights, but only those up to the layer: the others are never passed.
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((param, transforms, objective, keys, state)))
    devices = 1 if program.mesh is None else program.mesh.size
    return needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes + own // devices


@jax.jit
def copy(state: State) -> State:
    """The same in memory of its own."""
    return jax.tree.map(jnp.copy, state)


@jax.jit
def choose(which: Array, new: State, old: State) -> State:
    """The new state of the tasks where `which` holds, the old one of the others."""
    return _select(which, new, old)


def _update(
    optimizer: optax.GradientTransformation, value_of: Callable[[Any], Array], state: State, value: Array, gradient: Any
) -> State:
    """The state after an ascent along the gradient; not alive if anything in it is not finite."""
    loss = jax.tree.map(jnp.negative, gradient)  # optax minimises
    with jax.numpy_dtype_promotion("standard"):  # optimizers mix dtypes, which users may have forbidden
        updates, memory = optax.with_extra_args_support(optimizer).update(  # line searches want the value and the function
            loss, state.optimizer, state.theta, value=-value, grad=loss, value_fn=lambda theta: -value_of(theta)
        )
        theta = optax.apply_updates(state.theta, updates)
    alive = state.alive & jnp.isfinite(value) & _all_finite(gradient) & _all_finite(theta)
    return dataclasses.replace(state, theta=theta, optimizer=memory, alive=alive)


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
        return score(model, objective, images, seen, jnp.float32(jnp.inf))[0]

    return jax.vmap(one)(objective, images)
