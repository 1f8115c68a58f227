"""Scores of images with a window changed, computing anew only what the window reaches.

A window changes a rectangle of the first convolution's output, a slightly larger one of the
second's, and so on. Each rectangle is computed from the values around it, which are those of the
unchanged image. Once a rectangle has grown to most of its map, the rest of the network runs as
usual. The scores are those of a full pass up to rounding (Nakandala et al. 2019,
arXiv:1906.07509, for CNNs).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens._program import ELEMENTWISE, Program, Step, Value, evaluate, trace
from jaxlens.attribution._query import Query

MAX_SHARE = 0.6  # of a map: above this the whole map is cheaper than its rectangle
_NHWC = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))  # lax's axes of [B, H, W, C] and [h, w, C, D]


@dataclasses.dataclass(frozen=True)
class WindowGrid:
    """Windows along rows and columns: for both axes length, windows' size, stride and count."""

    lengths: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    counts: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Span:
    """What each window changes along an axis of a map: at most `size` places, from `start` on."""

    low: np.ndarray
    high: np.ndarray
    length: int

    @property
    def size(self) -> int:
        return max(1, min(self.length, int((self.high - self.low).max())))

    @property
    def start(self) -> np.ndarray:
        return np.clip(self.low, 0, self.length - self.size)

    def through(self, window: int, stride: int, pad: int, length: int) -> "Span":
        """Return the places that windows sliding over this axis reach."""
        low = -(-(self.low + pad - window + 1) // stride)
        high = (self.high - 1 + pad) // stride + 1
        return _span(low, high, length)

    def __or__(self, other: "Span") -> "Span":
        return _span(np.minimum(self.low, other.low), np.maximum(self.high, other.high), self.length)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Span)
            and self.length == other.length
            and bool(np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high))
        )

    __hash__ = None  # type: ignore[assignment]


def _span(low: np.ndarray, high: np.ndarray, length: int) -> Span:
    low = np.clip(low, 0, length - 1)
    return Span(low, np.clip(high, low + 1, length), length)


@dataclasses.dataclass(frozen=True)
class Patch:
    """The changed rectangle of a map, one for each window: `values [n, h, w, C]`."""

    values: Any
    rows: Span
    columns: Span

    @property
    def spans(self) -> tuple[Span, Span]:
        return self.rows, self.columns


@functools.partial(jax.jit, static_argnames=("grid",))
def incremental_scores(query: Query, numbers: jax.Array, grid: WindowGrid) -> jax.Array:
    """Return the score of the query's one image with each window at the baseline, `[n]`."""
    many = numbers.shape[0]
    once = _program(query)
    clean = once.walk([query.values, *jax.tree.leaves(query)], _plain)[1]
    repeated = query.at(jnp.zeros(many, int))
    program = _program(repeated)
    twin = {b: a for a, b in zip(once.steps, program.steps, strict=True)}
    return _Walk(query, program, twin, clean, numbers, grid).run(repeated)


def supports(query: Query) -> bool:
    """Say whether rectangles can be followed through the network.

    They can if traces of the network for one image and for two have the same steps.
    """
    if query.values.ndim != 4 or query.model.rule is not None:
        return False
    one, two = (_program(query.at(jnp.zeros(n, int))) for n in (1, 2))
    return [step.name for step in one.steps] == [step.name for step in two.steps]


def _program(query: Query) -> Program:
    return trace(lambda values, query: query.scores(values), (query.values, query), inside=True)


def _plain(step: Step, read: Any) -> list[Any]:
    return evaluate(step, [read(value) for value in step.operands])


class _Walk:
    """One evaluation of the program, in which a value is an array or a `Patch`."""

    def __init__(self, query: Query, program: Program, twin: Any, clean: Any, numbers: jax.Array, grid: WindowGrid):
        self.query, self.program, self.twin, self.clean = query, program, twin, clean
        self.numbers, self.grid = numbers, grid
        self.which = (numbers // grid.counts[1], numbers % grid.counts[1])

    def run(self, repeated: Query) -> jax.Array:
        spans = []
        for length, size, stride, count in zip(
            self.grid.lengths, self.grid.size, self.grid.stride, self.grid.counts, strict=True
        ):
            low = np.arange(count) * stride
            spans.append(_span(low, low + size, length))
        rows, columns = spans
        inside = self._inside(rows, 0)[:, :, None, None] & self._inside(columns, 1)[:, None, :, None]
        shape = (rows.size, columns.size)
        starts = [self._starts(span, axis) for axis, span in enumerate(spans)]
        kept, hidden = (self._slices(x[0], starts, shape) for x in (self.query.values, self.query.baseline))
        patch: Any = Patch(jnp.where(inside, hidden, kept), rows, columns)
        leaves = [patch if self._small(patch) else self._whole(patch, self.query.values), *jax.tree.leaves(repeated)]
        return self.program.walk(leaves, self._step)[0]

    def _step(self, step: Step, read: Any) -> list[Any]:
        values = [read(value) for value in step.operands]
        if not any(isinstance(value, Patch) for value in values):
            return evaluate(step, values)
        found = self._follow(step, values)
        if found is not None and self._small(found):
            return [found]
        pairs = zip(values, step.operands, strict=True)
        return evaluate(step, [self._whole(v, self._clean(o)) if isinstance(v, Patch) else v for v, o in pairs])

    def _clean(self, value: Value) -> Any:
        """Return the value for the unchanged image, `[1, H, W, C]`."""
        if value.maker is None:
            return self.query.values
        return self.clean(Value(value.depends, value.inexact, self.twin[value.maker], value.index))

    def _follow(self, step: Step, values: list[Any]) -> Patch | None:
        """Return the rectangle that a step makes of rectangles; None if it must see the whole."""
        name, params, out = step.name, step.equation.params, step.equation.outvars[0].aval
        first = values[0]
        if out.ndim != 4 or any(o.depends and not isinstance(v, Patch) for v, o in zip(values, step.operands, strict=True)):
            return None  # an operand that has grown to the whole map
        if name in ELEMENTWISE or (name == "concatenate" and params["dimension"] == 3):
            same = all(isinstance(v, Patch) or v.ndim == 0 or v.shape[1:3] in ((1, 1), out.shape[1:3]) for v in values)
            patches = [v for v in values if isinstance(v, Patch)]
            if not same or any(tuple(s.length for s in p.spans) != out.shape[1:3] for p in patches):
                return None
            rows, columns = functools.reduce(lambda a, b: (a[0] | b[0], a[1] | b[1]), (p.spans for p in patches))
            views = [self._view(v, o, (rows, columns)) for v, o in zip(values, step.operands, strict=True)]
            return Patch(step.equation.primitive.bind(*views, **params), rows, columns)
        if not isinstance(first, Patch) or any(isinstance(v, Patch) for v in values[1:]):
            return None
        if name == "dot_general" and params["dimension_numbers"] == (((3,), (0,)), ((), ())) and values[1].ndim == 2:
            return Patch(step.equation.primitive.bind(first.values, values[1], **params), first.rows, first.columns)
        if name == "pad":
            return self._pad(step, first, values[1], out)
        if name == "conv_general_dilated":
            return self._conv(step, first, values[1], out)
        if name in ("reduce_window_max", "reduce_window_sum"):
            return self._pool(step, first, out)
        return None

    def _pad(self, step: Step, x: Patch, fill: Any, out: Any) -> Patch | None:
        config = step.equation.params["padding_config"]
        if any(inner for _, _, inner in config) or any(config[axis] != (0, 0, 0) for axis in (0, 3)):
            return None
        before = [config[axis][0] for axis in (1, 2)]
        spans = [
            _span(span.low + pad, span.high + pad, length)
            for span, pad, length in zip(x.spans, before, out.shape[1:3], strict=True)
        ]
        offset = [self._starts(span, axis) - pad for axis, (span, pad) in enumerate(zip(spans, before, strict=True))]
        shape = (spans[0].size, spans[1].size)
        return Patch(self._around(x, self._clean(step.operands[0])[0], offset, shape, fill), *spans)

    def _conv(self, step: Step, x: Patch, kernel: Any, out: Any) -> Patch | None:
        p = step.equation.params
        numbers = p["dimension_numbers"]
        layout = (tuple(numbers.lhs_spec), tuple(numbers.rhs_spec), tuple(numbers.out_spec))
        if layout != _NHWC or tuple(p["lhs_dilation"]) != (1, 1) or p["batch_group_count"] != 1:
            return None
        reach = [d * (k - 1) + 1 for d, k in zip(p["rhs_dilation"], kernel.shape[:2], strict=True)]

        def run(view: Any) -> Any:
            return lax.conv_general_dilated(
                view,
                kernel,
                p["window_strides"],
                "VALID",
                rhs_dilation=p["rhs_dilation"],
                dimension_numbers=numbers,
                feature_group_count=p["feature_group_count"],
                precision=p["precision"],
                preferred_element_type=p["preferred_element_type"],
            )

        return self._slide(step, x, out, reach, p["window_strides"], p["padding"], 0.0, run)

    def _pool(self, step: Step, x: Patch, out: Any) -> Patch | None:
        p = step.equation.params
        window, strides = p["window_dimensions"], p["window_strides"]
        flat = all(tuple(p[key])[at] == 1 for key in ("window_dimensions", "window_strides") for at in (0, 3))
        if not flat or any(d != 1 for d in p["base_dilation"]) or any(tuple(p["padding"])[at] != (0, 0) for at in (0, 3)):
            return None
        reach = [d * (k - 1) + 1 for d, k in zip(p["window_dilation"], window, strict=True)][1:3]
        largest = step.name == "reduce_window_max"
        start = np.asarray(-np.inf if largest else 0, out.dtype)
        kind = lax.max if largest else lax.add

        def run(view: Any) -> Any:
            return lax.reduce_window(view, start, kind, window, strides, "VALID", window_dilation=tuple(p["window_dilation"]))

        return self._slide(step, x, out, reach, tuple(strides)[1:3], tuple(p["padding"])[1:3], float(start), run)

    def _slide(self, step: Step, x: Patch, out: Any, reach: Any, strides: Any, padding: Any, fill: float, run: Any) -> Patch:
        """Return the rectangle that windows sliding over a map make of a rectangle."""
        spans = [
            span.through(window, stride, pad[0], length)
            for span, window, stride, pad, length in zip(x.spans, reach, strides, padding, out.shape[1:3], strict=True)
        ]
        shape = tuple((span.size - 1) * stride + window for span, stride, window in zip(spans, strides, reach, strict=True))
        offset = [
            self._starts(span, axis) * stride - pad[0]
            for axis, (span, stride, pad) in enumerate(zip(spans, strides, padding, strict=True))
        ]
        return Patch(run(self._around(x, self._clean(step.operands[0])[0], offset, shape, fill)), *spans)

    def _view(self, value: Any, operand: Value, spans: tuple[Span, Span]) -> Any:
        """Return a value within a rectangle."""
        shape = (spans[0].size, spans[1].size)
        if not isinstance(value, Patch):
            if value.ndim == 0 or value.shape[1:3] == (1, 1):
                return value
            maker = operand.maker
            if maker is not None and maker.name == "broadcast_in_dim":
                given = maker.equation.invars[0].aval.shape
                dims = maker.equation.params["broadcast_dimensions"]
                if all(given[dims.index(axis)] == 1 for axis in (1, 2) if axis in dims):
                    return value[:, : shape[0], : shape[1]]  # the same at every place
            return self._slices(value[0], [self._starts(span, axis) for axis, span in enumerate(spans)], shape)
        if value.rows == spans[0] and value.columns == spans[1]:
            return value.values
        offset = [self._starts(span, axis) for axis, span in enumerate(spans)]
        return self._around(value, self._clean(operand)[0], offset, shape, 0.0)

    def _around(self, patch: Patch, clean: Any, offset: Any, shape: Any, fill: Any) -> Any:
        """Return the map with its patch, in a rectangle of `shape` from `offset` on.

        The rectangle may reach beyond the map.
        """
        padded = jnp.pad(clean, [*((size, size) for size in shape), (0, 0)], constant_values=fill)
        around = self._slices(padded, [first + size for first, size in zip(offset, shape, strict=True)], shape)
        takes, inside = [], []
        for axis, span in enumerate(patch.spans):
            place = offset[axis][:, None] + jnp.arange(shape[axis])[None] - self._starts(span, axis)[:, None]
            takes.append(jnp.clip(place, 0, span.size - 1))
            inside.append((place >= 0) & (place < span.size))
        taken = jax.vmap(lambda x, r, c: x[r][:, c])(patch.values, *takes)
        return jnp.where((inside[0][:, :, None] & inside[1][:, None, :])[..., None], taken, around)

    def _starts(self, span: Span, axis: int) -> Any:
        """Return where each window's rectangle begins along an axis, `[n]`."""
        return jnp.asarray(span.start)[self.which[axis]]

    def _slices(self, x: Any, starts: Any, shape: Any) -> Any:
        """Return rectangles of one map, `[n, *shape, C]`."""
        return jax.vmap(lambda r, c: lax.dynamic_slice(x, (r, c, 0), (*shape, x.shape[-1])))(*starts)

    def _inside(self, span: Span, axis: int) -> Any:
        """Return which places of a rectangle lie in the window itself: `[n, size]`.

        The window may be cut at the border.
        """
        low, high = (jnp.asarray(x)[self.which[axis]] for x in (span.low, span.high))
        place = self._starts(span, axis)[:, None] + jnp.arange(span.size)[None]
        return (place >= low[:, None]) & (place < high[:, None])

    def _small(self, patch: Patch) -> bool:
        share = patch.rows.size * patch.columns.size / (patch.rows.length * patch.columns.length)
        return share <= MAX_SHARE

    def _whole(self, patch: Patch, clean: Any) -> Any:
        """Return the maps with their patches, `[n, H, W, C]`."""
        starts = [self._starts(span, axis) for axis, span in enumerate(patch.spans)]
        return jax.vmap(lambda x, r, c: lax.dynamic_update_slice(clean[0], x, (r, c, 0)))(patch.values, *starts)
