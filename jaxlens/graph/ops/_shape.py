"""Axes: their sizes, order, splitting and joining."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxlens.errors import UnsupportedOperatorError
from jaxlens.graph._tensor import Tensor, maps, tensor
from jaxlens.graph.ops._table import elementwise, numbers, op, refuse


@op("size", "sym_size")
def _size(input: Any, dim: int | None = None) -> Any:
    return input.shape if dim is None else input.shape[dim]


@op("fixed_size")  # not PyTorch's: of a graph by torch.export, whose slices and sizes are numbers
def _fixed_size(input: Tensor, size: Sequence[int]) -> Tensor:
    if input.shape[1:] != tuple(size):
        want, got = (" x ".join(map(str, x[1:] if len(size) == 3 else x)) for x in (size, input.shape[1:]))
        raise ValueError(
            f"This network takes inputs of {want} only, because its code looks at sizes: torch.export traced it at this one. "
            f"This one is {got}."
        )
    return input


@op("dim", "ndimension")
def _dim(input: Tensor) -> int:
    return input.ndim


@op("numel", "sym_numel", "nelement")
def _numel(input: Tensor) -> int:
    return math.prod(input.shape)


@op("getattr")
def _getattr(input: Any, name: str, default: Any = None) -> Any:
    if isinstance(input, Tensor):
        if name in ("shape", "ndim", "dtype"):
            return getattr(input, name)
        if name == "device":
            return None
        if name in ("T", "mT", "H"):
            return _transpose(input, -2, -1) if name == "mT" or input.ndim == 2 else input.permuted(range(input.ndim)[::-1])
        if name in ("data",):
            return input.with_data(lax.stop_gradient(input.data))
    elif name in getattr(input, "_fields", ()):  # .values and .indices of max
        return getattr(input, name)
    raise UnsupportedOperatorError(f"the attribute .{name} of {type(input).__name__}")


@op("view", "reshape", "_unsafe_view", "unsafe_view", "_reshape_alias")
def _reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    refuse(len(sizes) == 1 and isinstance(sizes[0], jnp.dtype), "view as another dtype")
    return input.reshaped(numbers(sizes if shape is None else shape))


@op("view_as", "reshape_as")
def _view_as(input: Tensor, other: Tensor) -> Tensor:
    return input.reshaped(other.shape)


@op("flatten")
def _flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    if not input.ndim:
        return input.reshaped((1,))
    start, end = start_dim % input.ndim, end_dim % input.ndim
    return input.reshaped((*input.shape[:start], math.prod(input.shape[start : end + 1]), *input.shape[end + 1 :]))


@op("unflatten")
def _unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    dim %= input.ndim
    known = math.prod(n for n in sizes if n != -1)
    sizes = [input.shape[dim] // known if n == -1 else n for n in sizes]
    return input.reshaped((*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


@op("permute")
def _permute(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    return input.permuted(numbers(axes if dims is None else dims))


@op("transpose", "swapaxes", "swapdims")
def _transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    axes = list(range(input.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return input.permuted(axes)


@op("t", "numpy_T")
def _t(input: Tensor) -> Tensor:
    return input.permuted(range(input.ndim)[::-1])


@op("movedim", "moveaxis")
def _movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    sources = [axis % input.ndim for axis in ([source] if isinstance(source, int) else source)]
    places = [axis % input.ndim for axis in ([destination] if isinstance(destination, int) else destination)]
    order = [axis for axis in range(input.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return input.permuted(order)


@op("squeeze")
def _squeeze(input: Tensor, dim: Any = None) -> Tensor:
    dims = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {axis % input.ndim for axis in dims if input.shape[axis] == 1}
    stored = tuple(input.axis(axis) for axis in gone)
    return input.without(lax.squeeze(input.data, stored), stored, False)


@op("unsqueeze")
def _unsqueeze(input: Tensor, dim: int) -> Tensor:
    return _getitem(input, (*(slice(None),) * (dim % (input.ndim + 1)), None))


@op("expand", "broadcast_to")
def _expand(input: Tensor, *sizes: Any, implicit: bool = False, size: Any = None) -> Tensor:
    sizes = numbers((size,) if size is not None else sizes)
    wide = input.expanded(len(sizes))
    shape = [have if want == -1 else want for have, want in zip(wide.shape, sizes, strict=True)]
    return wide.with_data(jnp.broadcast_to(wide.data, [shape[axis] for axis in wide.order]))


@op("expand_as")
def _expand_as(input: Tensor, other: Tensor) -> Tensor:
    return _expand(input, *other.shape)


@op("repeat", "tile")
def _repeat(input: Tensor, *times: Any, dims: Any = None) -> Tensor:
    repeats = numbers(times if dims is None else dims)
    wide = input.expanded(max(len(repeats), input.ndim))
    repeats = (1,) * (wide.ndim - len(repeats)) + repeats
    return wide.with_data(jnp.tile(wide.data, [repeats[axis] for axis in wide.order]))


@op("repeat_interleave")
def _repeat_interleave(input: Tensor, repeats: int, dim: int | None = None, *, output_size: Any = None) -> Tensor:
    refuse(not isinstance(repeats, int), "repeat_interleave with a tensor of repeats: its size depends on the data")
    if dim is None:
        return tensor(jnp.repeat(input.logical.reshape(-1), repeats))
    return input.with_data(jnp.repeat(input.data, repeats, input.axis(dim)))


@op("cat", "concat", "concatenate")
def _cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None, out: None = None) -> Tensor:
    dim = dim if axis is None else axis
    tensors = [x for x in tensors if x.shape != (0,)]  # PyTorch lets an empty list take part
    lead = max(tensors, key=lambda x: x.data.size)
    channels = [x.channel for x in (lead, *tensors) if x.channel is not None]
    data = jnp.concatenate([x.in_order(lead.order) for x in tensors], lead.axis(dim))
    return Tensor(data, lead.order, channels[0] if channels else None)


@op("stack")
def _stack(tensors: Sequence[Tensor], dim: int = 0, *, out: None = None) -> Tensor:
    return _cat([_unsqueeze(x, dim) for x in tensors], dim)


@op("hstack")
def _hstack(tensors: Sequence[Tensor], *, out: None = None) -> Tensor:
    return _cat(tensors, min(1, max(x.ndim for x in tensors) - 1))


@op("vstack", "row_stack")
def _vstack(tensors: Sequence[Tensor], *, out: None = None) -> Tensor:
    return _cat([_unsqueeze(x, 0) if x.ndim == 1 else x for x in tensors], 0)


@op("column_stack")
def _column_stack(tensors: Sequence[Tensor], *, out: None = None) -> Tensor:
    return _cat([_unsqueeze(x, 1) if x.ndim == 1 else x for x in tensors], 1)


@op("dstack")
def _dstack(tensors: Sequence[Tensor], *, out: None = None) -> Tensor:
    refuse(any(x.ndim < 3 for x in tensors), "dstack of vectors and matrices; use stack")
    return _cat(tensors, 2)


@op("split", "split_with_sizes", "unsafe_split")
def _split(input: Tensor, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None) -> tuple[Tensor, ...]:
    sizes, n = split_size_or_sections if split_size is None else split_size, input.shape[dim]
    if isinstance(sizes, int):
        sizes = [min(sizes, n - start) for start in range(0, n, sizes)]
    if sum(sizes) != n:
        raise ValueError(f"an axis of size {n} cannot be split into {tuple(sizes)}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(_narrow(input, dim, start, size) for start, size in zip(starts, sizes, strict=True))


@op("tensor_split")
def _tensor_split(input: Tensor, sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    refuse(not isinstance(sections, int), "tensor_split at places")
    small, larger = divmod(input.shape[dim], sections)
    return _split(input, [small + (i < larger) for i in range(sections)], dim)


@op("chunk", "unsafe_chunk")
def _chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return _split(input, -(-input.shape[dim] // chunks), dim)


@op("unbind")
def _unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    return tuple(_select(input, dim, i) for i in range(input.shape[dim]))


@op("narrow")
def _narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    return input.with_data(lax.slice_in_dim(input.data, start, start + length, axis=input.axis(dim)))


@op("select")
def _select(input: Tensor, dim: int, index: int) -> Tensor:
    return _getitem(input, (*(slice(None),) * (dim % input.ndim), index))


@op("slice")
def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return _getitem(input, (*(slice(None),) * (dim % input.ndim), slice(start, end, step)))


@op("select_scatter")
def _select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    return tensor(input.logical.at[(*(slice(None),) * (dim % input.ndim), index)].set(src.logical), input.channel)


@op("slice_scatter")
def _slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    where = (*(slice(None),) * (dim % input.ndim), slice(start, end, step))
    return tensor(input.logical.at[where].set(src.logical), input.channel)


@op("copy")
def _copy(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    return elementwise(lambda x, y: jnp.broadcast_to(y.astype(x.dtype), x.shape), input, src)


@op("fill", "fill_")
def _fill(input: Tensor, value: Any) -> Tensor:
    return elementwise(lambda x, v: jnp.full_like(x, v), input, value)


@op("zero")
def _zero(input: Tensor) -> Tensor:
    return input.with_data(jnp.zeros_like(input.data))


@op("getitem")
def _getitem(input: Any, index: Any) -> Any:
    if not isinstance(input, Tensor):
        return input[index]
    index = index if isinstance(index, tuple) else (index,)
    for each in index:
        mask = each.dtype in (bool, jnp.uint8) if isinstance(each, Tensor) else isinstance(each, bool)
        refuse(mask, "indexing with a mask: the size of what it gives depends on the data")
    taken = sum(each is not None and each is not Ellipsis for each in index)
    if Ellipsis not in [each for each in index if not isinstance(each, Tensor)]:
        index = (*index, Ellipsis)
    at = next(i for i, each in enumerate(index) if each is Ellipsis)
    index = (*index[:at], *(slice(None),) * (input.ndim - taken), *index[at + 1 :])
    lists = [each for each in index if isinstance(each, Tensor | tuple)]
    if not lists:
        return _basic(input, index)
    refuse(len(lists) > 1 and any(isinstance(each, Tensor) and not each.ndim for each in lists), "an index of 0 and more axes")
    # Numbers, slices and new axes first: in PyTorch, unlike NumPy, a number does not decide where
    # the axes of lists go.
    rest = _basic(input, tuple(slice(None) if isinstance(each, Tensor | tuple) else each for each in index))
    places = [
        each.logical if isinstance(each, Tensor) else jnp.asarray(each) if isinstance(each, tuple) else slice(None)
        for each in index
        if not isinstance(each, int)
    ]
    # PyTorch raises for indices outside, where JAX would take the last element: NaN reveals them
    return tensor(rest.logical.at[tuple(places)].get(mode="fill"))


def _basic(input: Tensor, index: tuple[Any, ...]) -> Tensor:
    """Index with numbers, slices and new axes only; the data keeps its order."""
    per_axis = [each for each in index if each is not None]
    for n, each in zip(input.shape, per_axis, strict=True):
        refuse(isinstance(each, int) and not -n <= each < n, f"index {each} of an axis of size {n}")
    result: list[Any] = []  # PyTorch's axes of the result: an axis of the input, or a new one
    axis = 0
    for number, each in enumerate(index):
        if each is None:
            result.append(("new", number))
        else:
            if not isinstance(each, int):
                result.append(axis)
            axis += 1
    data = input.data[tuple(per_axis[axis] for axis in input.order)]
    new = [axis for axis in result if isinstance(axis, tuple)]
    stored = [*new, *(axis for axis in input.order if axis in result)]
    channel = result.index(input.channel) if input.channel in result else None
    return Tensor(data.reshape((1,) * len(new) + data.shape), tuple(result.index(axis) for axis in stored), channel)


@op("setitem")
def _setitem(input: Tensor, index: Any, value: Any) -> Tensor:
    index = index if isinstance(index, tuple) else (index,)
    number = not isinstance(value, Tensor) or not value.ndim
    if len(index) == 1 and isinstance(index[0], Tensor) and index[0].dtype == bool and number:
        mask = index[0].reshaped((*index[0].shape, *(1,) * (input.ndim - index[0].ndim)))
        return elementwise(lambda x, m, v: jnp.where(m, jnp.asarray(v, x.dtype), x), input, mask, value)
    refuse(any(isinstance(each, Tensor | tuple | bool) for each in index), "an assignment to places that a tensor gives")
    _getitem(input, index)  # for its errors
    value = value.logical.astype(input.dtype) if isinstance(value, Tensor) else value
    return tensor(input.logical.at[index].set(value), input.channel)


@op("index")
def _index(input: Tensor, indices: Sequence[Any]) -> Tensor:
    return _getitem(input, tuple(slice(None) if each is None else each for each in indices))


@op("index_select")
def _index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    return input.with_data(jnp.take(input.data, index.logical, input.axis(dim)))


@op("gather")
def _gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    data, places = input.logical, index.logical
    data = data[tuple(slice(n) if axis != dim % data.ndim else slice(None) for axis, n in enumerate(places.shape))]
    return tensor(jnp.take_along_axis(data, places, dim))


@op("roll")
def _roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    if dims == () or dims is None:
        return tensor(jnp.roll(input.logical, shifts), input.channel)
    return input.with_data(jnp.roll(input.data, shifts, input.axes(dims)))


@op("flip")
def _flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    return input.with_data(jnp.flip(input.data, input.axes(numbers(axes if dims is None else dims))))


@op("pixel_shuffle")
def _pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    *b, c, h, w = input.shape
    r, n = upscale_factor, len(b)
    split = input.reshaped((*b, c // r**2, r, r, h, w)).permuted((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    out = split.reshaped((*b, c // r**2, h * r, w * r))
    return Tensor(out.data, out.order, n)


@op("pixel_unshuffle")
def _pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    *b, c, h, w = input.shape
    r, n = downscale_factor, len(b)
    split = input.reshaped((*b, c, h // r, r, w // r, r)).permuted((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    out = split.reshaped((*b, c * r**2, h // r, w // r))
    return Tensor(out.data, out.order, n)


@op("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(input: Tensor, groups: int) -> Tensor:
    b, c, *space = input.shape
    out = input.reshaped((b, groups, c // groups, *space)).permuted((0, 2, 1, *range(3, 3 + len(space)))).reshaped(input.shape)
    return Tensor(out.data, out.order, 1)


@op("unfold")
def _unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Cut windows along one axis, as the method and ATen do; `F.unfold` is `im2col`."""
    starts = range(0, input.shape[dimension] - size + 1, step)
    places = jnp.asarray([[start + i for i in range(size)] for start in starts], jnp.int32).reshape(-1, size)
    found = _getitem(input, (*(slice(None),) * (dimension % input.ndim), tensor(places)))
    return _movedim(found, dimension % input.ndim + 1, -1)


@op("im2col")  # F.unfold
def _im2col(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    refuse(input.ndim != 4, "unfold of other than maps [B, C, H, W]")
    (k1, k2), (d1, d2), (p1, p2), (s1, s2) = (
        (n, n) if isinstance(n, int) else n for n in (kernel_size, dilation, padding, stride)
    )
    x = jnp.pad(input.channels_last, ((0, 0), (p1, p1), (p2, p2), (0, 0)))
    high, wide = (x.shape[1] - d1 * (k1 - 1) - 1) // s1 + 1, (x.shape[2] - d2 * (k2 - 1) - 1) // s2 + 1
    views = [
        x[:, i * d1 : i * d1 + (high - 1) * s1 + 1 : s1, j * d2 : j * d2 + (wide - 1) * s2 + 1 : s2]
        for i in range(k1)
        for j in range(k2)
    ]
    patches = jnp.stack(views, -1).reshape(x.shape[0], high * wide, -1)  # channels outermost, as in PyTorch
    return maps(patches)
