"""Find which values of a layer a target depends on; of the program only shapes are computed.

After the last attention of a class-token transformer the score depends on the class token only: the
patches exist, but their gradient is zero. A map of class scores depends on one channel per class.
Both follow from how operations move values.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._program import ELEMENTWISE, Step, Value, trace
from jaxlens.attribution._layers import Offsets
from jaxlens.model._architecture import Architecture, Size
from jaxlens.model._run import run_network

# Each output element is one element of an operand. The number is how many operands hold elements;
# the others say where.
MOVING = {
    "reshape": 1, "transpose": 1, "slice": 1, "squeeze": 1, "expand_dims": 1, "broadcast_in_dim": 1, "rev": 1, "split": 1,
    "tile": 1, "pad": 2, "dynamic_slice": 1, "gather": 1, "concatenate": 99, "stack": 99, "unstack": 1,
}  # fmt: skip


def dependency_masks(
    architecture: Architecture, size: Size, layers: Sequence[str], targets: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield, for each of `layers`, its name and which values channel 0 of the targets depends on.

    The order is from the layer that ran last to the one that ran first. Unknown operations are
    taken to mix everything. Layers on which the targets do not depend may be left out.
    """
    sites = architecture.layers(size)
    shapes = {name: (1, *sites[name].shape) for name in (*layers, *targets)}
    deltas = tuple(jax.ShapeDtypeStruct(shapes[name], jnp.float32) for name in layers)

    def call(deltas: Any, image: jax.Array, params: Any) -> tuple[jax.Array, ...]:
        offsets = Offsets(deltas=dict(zip(layers, deltas, strict=True)))
        found = run_network(architecture, params, None, image, tuple(dict.fromkeys(targets)), (offsets,))
        return tuple(found[name] for name in targets)

    program = trace(call, (deltas, architecture.image(size), architecture.params()), inside=True)
    asked = dict(zip(program.inputs, layers, strict=False))  # the offsets come first
    needed: dict[Any, np.ndarray] = {}
    for name, value in zip(targets, program.outputs, strict=True):
        seen = np.zeros(shapes[name], bool)
        seen[..., 0] = True
        _add(needed, value, seen)
    for step in reversed(program.steps):
        outs = [needed.pop((step, i), None) for i in range(len(step.equation.outvars))]
        if all(out is None for out in outs):
            continue
        filled = [np.zeros(v.aval.shape, bool) if o is None else o for v, o in zip(step.equation.outvars, outs, strict=True)]
        for value, seen in zip(step.operands, _needs(step, filled), strict=True):
            if value in asked:
                yield asked[value], seen[0]
            elif value.depends:
                _add(needed, value, seen)


def _add(needed: dict[Any, np.ndarray], value: Value, seen: np.ndarray) -> None:
    key = (value.maker, value.index) if value.maker else value
    needed[key] = needed[key] | seen if key in needed else seen


def _needs(step: Step, outs: list[np.ndarray]) -> list[np.ndarray]:
    """Return which elements of each operand the elements `outs` of the results need."""
    name, params, out = step.name, step.equation.params, outs[0]
    shapes = [tuple(getattr(var.aval, "shape", ())) for var in step.equation.invars]
    if name == "stop_gradient":
        return [np.zeros(shape, bool) for shape in shapes]
    if name in ELEMENTWISE:
        return [_broadcast_to(shape, out) for shape in shapes]
    if name == "dot_general":
        return _product(params["dimension_numbers"], out, shapes)
    if name in MOVING and all(value.array is not None for value in step.operands[MOVING[name] :]):
        return _moved(step, outs, shapes)
    axes = params.get("axes", ())
    if name.startswith("reduce_") and axes:
        return [np.broadcast_to(np.expand_dims(out, axes), shape) for shape in shapes]
    if name.startswith("reduce_window") and "window_dimensions" in params and len(shapes[0]) == out.ndim:
        mixed = tuple(i for i, side in enumerate(params["window_dimensions"]) if side > 1)
        seen = out.any(mixed, keepdims=True)
        same = all(n == m for i, (n, m) in enumerate(zip(out.shape, shapes[0], strict=True)) if i not in mixed)
        if same:
            return [np.broadcast_to(seen, shape) if len(shape) == out.ndim else np.ones(shape, bool) for shape in shapes]
    return [np.full(shape, any(each.any() for each in outs)) for shape in shapes]


def _broadcast_to(shape: tuple[int, ...], out: np.ndarray) -> np.ndarray:
    """Return which elements of an operand, repeated along its axes of length 1, `out` needs."""
    if len(shape) != out.ndim:
        return np.full(shape, out.any())
    repeated = tuple(i for i, (own, full) in enumerate(zip(shape, out.shape, strict=True)) if own != full)
    return np.asarray(out.any(repeated, keepdims=True))


def _product(numbers: Any, out: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the rows and columns that the elements of a product need."""
    contracted, batch = numbers
    free = [
        [i for i in range(len(shape)) if i not in contracted[side] and i not in batch[side]]
        for side, shape in enumerate(shapes)
    ]
    first, last = len(batch[0]), len(batch[0]) + len(free[0])
    found = []
    for side, others in enumerate((range(last, out.ndim), range(first, last))):
        seen = out.any(tuple(others))
        order = [*batch[side], *free[side], *contracted[side]]
        seen = seen.reshape(seen.shape + (1,) * len(contracted[side])).transpose(*np.argsort(order))
        found.append(np.broadcast_to(seen, shapes[side]))
    return found


def _moved(step: Step, outs: list[np.ndarray], shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Run the operation on numbers in place of the elements, and see where they went."""
    data = MOVING[step.name]
    sizes = [int(np.prod(shape)) if i < data else 0 for i, shape in enumerate(shapes)]
    starts = np.cumsum([0, *sizes])
    arrays = [
        (np.arange(starts[i], starts[i + 1], dtype=np.int32).reshape(shape) if i < data else step.operands[i].array)
        for i, shape in enumerate(shapes)
    ]
    primitive = step.equation.primitive
    with jax.ensure_compile_time_eval():
        moved = primitive.bind(*map(jnp.asarray, arrays), **step.equation.params)
    seen = np.zeros(starts[-1], bool)
    for each, out in zip(moved if primitive.multiple_results else [moved], outs, strict=True):
        numbers = np.asarray(each)[out]
        seen[numbers[(numbers >= 0) & (numbers < starts[-1])]] = True
    parts = [seen[starts[i] : starts[i + 1]] for i in range(len(shapes))]
    return [
        part.reshape(shape) if i < data else np.zeros(shape, bool)
        for i, (part, shape) in enumerate(zip(parts, shapes, strict=True))
    ]
