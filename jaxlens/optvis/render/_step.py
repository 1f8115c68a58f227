"""The compiled ascent step: one program over `vmap(task)` for all channels, weights and keys."""

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


@pytree
class Work:
    """What a step works on: the tasks of a batch, and the network that all of them share.

    Attributes:
        model: the network with its weights.
        param: one parameterization for all tasks, or an `Each` with one per task.
        transforms: the chain of transforms.
        objective: leaves have a leading axis for the tasks.
        keys: one key per task.

    Inside `jax.vmap` over `axes()` it is the work of one task: its parameterization, objective and
    key.
    """

    model: Any
    param: Any
    transforms: Any
    objective: Any
    keys: Any

    def axes(self) -> "Work":
        """Return the task axis of each field: 0, or None where all tasks share it."""
        return Work(model=None, param=param_axis(self.param), transforms=None, objective=0, keys=0)


def param_axis(param: Any) -> int | None:
    """Return the task axis of a parameterization: 0 for an `Each`, None if it serves all tasks."""
    return 0 if isinstance(param, Each) else None


@dataclasses.dataclass(frozen=True)
class StepSpec:
    """What a compiled step is specialized to, besides the structure and shapes of its arguments.

    Attributes:
        optimizer: of the images' parameters.
        resize_to: the size at which the network sees the images; None is the size they have.
        mesh: the devices that share the tasks; None is a single one.
        draws: how often the transforms are drawn in each step.
        importance: sum up `|d score / d image|`.
    """

    optimizer: optax.GradientTransformation
    resize_to: tuple[int, int] | None
    mesh: Mesh | None
    draws: int = 1
    importance: bool = False

    def over_tasks(self, fn: Callable[..., Any], axes: tuple[Any, ...]) -> Callable[..., Any]:
        """Return `fn` with its arguments split over the devices; `axes` are those of `jax.vmap`.

        `shard_map` gives each device the program for its own tasks: nothing is exchanged.
        """
        if self.mesh is None:
            return fn
        specs = jax.tree.map(
            lambda axis: PartitionSpec() if axis is None else PartitionSpec("tasks"), axes, is_leaf=lambda axis: axis is None
        )
        return jax.shard_map(fn, mesh=self.mesh, in_specs=specs, out_specs=PartitionSpec("tasks"), check_vma=False)


@pytree
class State:
    """One task's progress; with a leading axis on every leaf, that of a batch.

    Attributes:
        theta: the parameters of the images.
        optimizer: the state of the optimizer.
        alive: whether all was finite so far.
        failed_at: the step at which something was not, or -1.
        memory: what the objective remembers of the step before.
        importance: the sum over steps of `|d score / d image|`, if `StepSpec.importance`.
    """

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
    """Return an objective's value at a step, and its memory.

    The network sees `seen`; penalties see the plain `images`.
    """
    layers = tuple(layer for layer in objective.layers if layer != "input")

    def network(layers: tuple[str, ...], interceptors: Any, batch: int, rule: Any) -> dict[str, Array]:
        one = slice(batch, batch + 1)
        found = run(model.replace(rule=rule), seen[one], tuple(n for n in layers if n != "input"), interceptors)
        return _float32(found) | {"input": images[one], STEP: number}

    activations = _float32(run(model, seen, layers)) if layers else {}
    activations |= {"input": images, STEP: number, NETWORK: network, MEMORY: memory or {}}
    return objective(activations), memories(objective, activations)


def _float32(activations: dict[str, Array]) -> dict[str, Array]:
    """Widen half-precision activations to float32: objectives add up many."""
    return {name: x.astype(jnp.promote_types(x.dtype, jnp.float32)) for name, x in activations.items()}


def computed_once(x: Float[Array, "*shape"], number: Array) -> Float[Array, "*shape"]:
    """Return `x`, but on a CPU stop XLA from fusing its producer into its consumer.

    XLA would fuse the transforms into the resize that follows and compute each of their pixels a
    dozen times; it drops `optimization_barrier` before it fuses. The branch of the `cond` on the
    step's number is never taken; XLA cannot know.
    """
    if jax.default_backend() != "cpu":
        return x
    return lax.cond(number == jnp.asarray(NEVER, number.dtype), jnp.zeros_like, lambda x: x, x)


def _task_score(
    spec: StepSpec, work: Work, images: Float[Array, "b h w c"], number: Array, memory: Any
) -> tuple[Float[Array, ""], Any]:
    """Return the score of one task's images and its memory, each a mean over a step's draws."""
    transforms = work.transforms.at(number)

    def one(key: Array) -> tuple[Array, Any]:
        seen = computed_once(transforms(key, images), number)
        if spec.resize_to is not None:
            seen = resize(*spec.resize_to)(key, seen)
        return score(work.model, work.objective, images, seen, number, memory)

    if spec.draws == 1:
        return one(work.keys)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(work.keys, jnp.arange(spec.draws, dtype=jnp.uint32))
    return jax.tree.map(lambda leaf: leaf.mean(0), jax.vmap(one)(keys))


def start(spec: StepSpec, work: Work) -> State:
    """Return the initial state of every task, each from its own key."""
    # compiled for the parameterization and the keys alone: other objectives and networks begin with
    # the same program
    return dataclasses.replace(_start(spec, work.param, work.keys), memory=_blank_memory(spec, work))


@functools.partial(jax.jit, static_argnames=("spec",))
def _start(spec: StepSpec, param: Any, keys: Array) -> State:
    def one(param: Any, key: Array) -> State:
        # copies, because steps take the state's memory: what a parameterization starts at may be
        # the user's own array
        theta = jax.tree.map(jnp.copy, param.init(jax.random.fold_in(key, 0)))
        return State(
            theta=theta,
            optimizer=spec.optimizer.init(theta),
            alive=jnp.array(True),
            failed_at=jnp.array(-1, jnp.int32),
            importance=jnp.zeros(param.shape[:3], jnp.float32) if spec.importance else None,
        )

    axes = (param_axis(param), 0)
    return spec.over_tasks(jax.vmap(one, axes), axes)(param, keys)


def _blank_memory(spec: StepSpec, work: Work) -> Any:
    """Return zeros in the shapes of what objectives remember, for every task; {} for most."""
    if not remembers(work.objective):
        return {}

    def one(work: Work) -> Any:
        images = work.param.to_image(work.param.init(work.keys))
        return _task_score(spec, work, images, jnp.uint32(0), None)[1]

    shapes = jax.eval_shape(jax.vmap(one, (work.axes(),)), work)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@functools.partial(jax.jit, static_argnames=("spec",), donate_argnames=("state",))
def step(spec: StepSpec, work: Work, number: Array, state: State) -> tuple[State, Array, Array]:
    """Make one ascent step of every task.

    Return the new state, the scores before the update, and which tasks had no gradient at all. A
    task whose score, gradient or update is not finite keeps its last good image and stops; the
    others go on. The old state is gone: the new one is in its memory.
    """

    def every(work: Work, number: Array, state: State) -> Any:
        work = dataclasses.replace(work, keys=jax.vmap(jax.random.fold_in, (0, None))(work.keys, 1 + number))

        def one(work: Work, state: State) -> tuple[State, Array, Array]:
            def value_of(images: Array) -> tuple[Array, Any]:
                return _task_score(spec, work, images, number, state.memory)

            images, pull = jax.vjp(work.param.to_image, state.theta)
            # the gradient of the score, not of the loss: gradient rules rely on its sign
            (value, memory), slope = jax.value_and_grad(value_of, has_aux=True)(images)
            (gradient,) = pull(slope)
            after = dataclasses.replace(state, memory=memory)
            if spec.importance:
                after = dataclasses.replace(after, importance=state.importance + jnp.abs(slope).mean(-1))
            after = _update(spec.optimizer, lambda t: value_of(work.param.to_image(t))[0], after, value, gradient)
            alive = after.alive
            failed_at = jnp.where(state.alive & ~alive, number.astype(jnp.int32), state.failed_at)
            kept = dataclasses.replace(state, alive=alive, failed_at=failed_at)
            return _select(alive, after, kept), value, state.alive & _all_zero(gradient)

        return jax.vmap(one, (work.axes(), 0))(work, state)

    return spec.over_tasks(every, (work.axes(), None, 0))(work, number, state)


def memory(spec: StepSpec, work: Work) -> int:
    """Return the bytes that a step of these tasks needs on each device besides the weights.

    They are the compiler's account. Nothing runs, and the step that does is not compiled again.
    """
    begun = jax.eval_shape(functools.partial(_start, spec), work.param, work.keys)
    state = dataclasses.replace(begun, memory=_blank_memory(spec, work))
    compiled = step.lower(spec, work, jnp.uint32(0), state).compile()
    needs = compiled.memory_analysis()
    if needs is None:  # the backend does not tell
        return 0
    # The compiler's size of the arguments includes the weights, but only those up to the layer: the
    # others are never passed.
    given = (work.param, work.transforms, work.objective, work.keys, state)
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(given))
    devices = 1 if spec.mesh is None else spec.mesh.size
    return needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes + own // devices


@jax.jit
def copy(state: State) -> State:
    """Return a copy of the state in memory of its own."""
    return jax.tree.map(jnp.copy, state)


@jax.jit
def choose(which: Array, new: State, old: State) -> State:
    """Return the new state of the tasks where `which` holds and the old one of the others."""
    return _select(which, new, old)


def _update(
    optimizer: optax.GradientTransformation, value_of: Callable[[Any], Array], state: State, value: Array, gradient: Any
) -> State:
    """Return the state after an ascent along the gradient; not alive if any of it is not finite."""
    loss = jax.tree.map(jnp.negative, gradient)  # optax minimizes
    with jax.numpy_dtype_promotion("standard"):  # optimizers mix dtypes, which users may have forbidden
        updates, memory = optax.with_extra_args_support(optimizer).update(  # line searches want the value and the function
            loss, state.optimizer, state.theta, value=-value, grad=loss, value_fn=lambda theta: -value_of(theta)
        )
        theta = optax.apply_updates(state.theta, updates)
    alive = state.alive & jnp.isfinite(value) & _all_finite(gradient) & _all_finite(theta)
    return dataclasses.replace(state, theta=theta, optimizer=memory, alive=alive)


def _select(which: Array, new: Any, old: Any) -> Any:
    """Return, leaf by leaf, `new` where `which` holds, else `old`.

    `which` is one value for one task or, with a leading axis, one for each.
    """
    return jax.tree.map(lambda n, o: jnp.where(which.reshape(which.shape + (1,) * (n.ndim - which.ndim)), n, o), new, old)


def _all_zero(tree: Any) -> Array:
    return jnp.stack([(leaf == 0).all() for leaf in jax.tree.leaves(tree)]).all()


def _all_finite(tree: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


@jax.jit
def decode(param: Any, theta: Any) -> Float[Array, "n b h w c"]:
    """Return the images of every task."""
    return jax.vmap(lambda param, theta: param.to_image(theta), (param_axis(param), 0))(param, theta)


@functools.partial(jax.jit, static_argnames=("resize_to",))
def evaluate(
    model: Model, objective: Any, images: Float[Array, "n b h w c"], resize_to: tuple[int, int] | None
) -> Float[Array, " n"]:
    """Return the scores of finished images, without transforms."""

    def one(objective: Any, images: Array) -> Array:
        seen = images if resize_to is None else resize(*resize_to)(jax.random.key(0), images)
        return score(model, objective, images, seen, jnp.float32(jnp.inf))[0]

    return jax.vmap(one)(objective, images)
