"""Arrays that remember how PyTorch counts their axes, so that maps stay channels last."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Order = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """An array as PyTorch sees it, stored in another order of axes.

    A permutation costs nothing: it changes `order`. Data moves only where an operator needs another
    order. Operators of `jaxlens.graph.ops` take and return it.

    Attributes:
        data: the stored array.
        order: axis `i` of `data` is PyTorch's axis `order[i]`.
        channel: the axis of PyTorch that holds the channels; None if it is not known.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.graph import Tensor
        >>> maps = Tensor(jnp.zeros((2, 6, 8, 3)), order=(0, 2, 3, 1), channel=1)
        >>> maps.shape  # as PyTorch counts
        (2, 3, 6, 8)
        >>> maps.permuted((0, 2, 3, 1)).shape
        (2, 6, 8, 3)
        >>> maps.channels_last.shape
        (2, 6, 8, 3)
    """

    data: jax.Array
    order: Order
    channel: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes in PyTorch's order."""
        sizes = dict(zip(self.order, self.data.shape, strict=True))
        return tuple(sizes[axis] for axis in range(len(self.order)))

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def dtype(self) -> jnp.dtype:
        return self.data.dtype

    def in_order(self, order: Sequence[int]) -> jax.Array:
        """Return the data with its axes in this order."""
        if tuple(order) == self.order:
            return self.data
        return self.data.transpose([self.order.index(axis) for axis in order])

    @property
    def logical(self) -> jax.Array:
        """The data in PyTorch's order."""
        return self.in_order(range(self.ndim))

    @property
    def channels_last(self) -> jax.Array:
        """The data `[B, *space, C]` of what an operator takes as `[B, C, *space]`."""
        return self.in_order(last(self.ndim, 1))

    @property
    def surface_order(self) -> Order:
        """The order in which a site shows the tensor: channels last.

        If the axis of the channels is not known, four axes are taken for PyTorch's `[B, C, H, W]`,
        and other tensors are shown as they are.
        """
        channel = self.channel if self.channel is not None else 1 if self.ndim == 4 else self.ndim - 1
        return last(self.ndim, channel)

    @functools.cached_property
    def surface(self) -> jax.Array:
        """The data as a site shows it; always the same array, so that `is` reveals a change."""
        return self.in_order(self.surface_order) if self.ndim else self.data

    def from_surface(self, data: jax.Array) -> "Tensor":
        """Return a tensor like this one with other contents, in the order of `surface`."""
        return Tensor(data, self.surface_order, self.channel)

    def with_data(self, data: jax.Array) -> "Tensor":
        """Return a tensor with the same axes and other contents, in the order of `data`."""
        return Tensor(data, self.order, self.channel)

    def permuted(self, axes: Sequence[int]) -> "Tensor":
        """Permute the axes as PyTorch's `permute` does."""
        axes = [axis % self.ndim for axis in axes]
        channel = None if self.channel is None else axes.index(self.channel)
        return Tensor(self.data, tuple(axes.index(axis) for axis in self.order), channel)

    def axis(self, axis: int) -> int:
        """Return the axis of `data` that is PyTorch's `axis`."""
        return self.order.index(axis % self.ndim)

    def axes(self, axes: int | Sequence[int] | None) -> tuple[int, ...]:
        """Return the axes of `data` that are PyTorch's `axes`.

        None and an empty list mean all axes, as in PyTorch's reductions.
        """
        if axes is None or (not isinstance(axes, int) and not len(axes)):
            return tuple(range(self.ndim))
        return tuple(self.axis(axis) for axis in ((axes,) if isinstance(axes, int) else axes))

    def without(self, data: jax.Array, axes: tuple[int, ...], keepdims: bool) -> "Tensor":
        """Return `data`, a reduction of this tensor over the stored `axes`, as a tensor."""
        if keepdims:
            return self.with_data(data)
        gone = {self.order[axis] for axis in axes}
        kept = [axis for axis in range(self.ndim) if axis not in gone]
        order = tuple(kept.index(axis) for axis in self.order if axis not in gone)
        return Tensor(data, order, kept.index(self.channel) if self.channel in kept else None)

    def expanded(self, ndim: int) -> "Tensor":
        """Add axes of size 1 in front, up to `ndim`, as broadcasting does."""
        extra = ndim - self.ndim
        if not extra:
            return self
        data = self.data.reshape((1,) * extra + self.data.shape)
        channel = None if self.channel is None else self.channel + extra
        return Tensor(data, (*range(extra), *(axis + extra for axis in self.order)), channel)

    def reshaped(self, shape: Sequence[int]) -> "Tensor":
        """Reshape as PyTorch's `reshape` does.

        Axes split and merge where they are stored. Data moves only if axes to be merged are not
        neighbors.
        """
        shape = _without_hole(self.shape, shape)
        if not self.ndim:
            return tensor(self.data.reshape(shape))
        groups = _groups(self.shape, shape)
        group_of = {axis: number for number, (old, _) in enumerate(groups) for axis in old}
        sequence = []  # groups in the order in which their last axis is stored: channels stay last
        for axis in reversed(self.order):
            if group_of[axis] not in sequence:
                sequence.insert(0, group_of[axis])
        data = self.in_order([axis for number in sequence for axis in groups[number][0]])
        order = tuple(axis for number in sequence for axis in groups[number][1])
        channel = None
        if self.channel is not None and self.shape[self.channel] > 1:
            old, new = groups[group_of[self.channel]]
            real = [[axis for axis in axes if sizes[axis] > 1] for axes, sizes in ((old, self.shape), (new, shape))]
            channel = real[1][0] if real[0] == [self.channel] and len(real[1]) == 1 else None
        return Tensor(data.reshape([shape[axis] for axis in order]), order, channel)


def tensor(data: jax.Array, channel: int | None = None) -> Tensor:
    """Return a tensor that is stored in PyTorch's order."""
    data = jnp.asarray(data)
    return Tensor(data, tuple(range(data.ndim)), channel)


def maps(data: jax.Array) -> Tensor:
    """Return a tensor `[B, C, *space]` that is stored as `[B, *space, C]`."""
    return Tensor(data, last(data.ndim, 1), 1)


def last(ndim: int, axis: int) -> Order:
    """Return the order of axes that has `axis` at the end."""
    return (*(i for i in range(ndim) if i != axis % ndim), axis % ndim)


def _without_hole(old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    known = math.prod(n for n in new if n != -1)
    hole = math.prod(old) // known if known else 0
    new = tuple(hole if n == -1 else int(n) for n in new)
    if math.prod(new) != math.prod(old):
        raise ValueError(f"a tensor of shape {tuple(old)} cannot become {new}")
    return new


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return runs of old axes and runs of new axes that hold the same elements.

    There are as many runs as possible, and each has at least one old axis.
    """
    if 0 in old:
        return [(list(range(len(old))), list(range(len(new))))]
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old):
        left, right, a, b = [i], [], old[i], 1
        i += 1
        while a != b:
            if b < a:
                right.append(j)
                b *= new[j]
                j += 1
            else:
                left.append(i)
                a *= old[i]
                i += 1
        if not right and j < len(new) and new[j] == 1:  # one axis of size 1 for another
            right.append(j)
            j += 1
        groups.append((left, right))
    if groups:
        groups[-1][1].extend(range(j, len(new)))  # the others have size 1
    return groups
