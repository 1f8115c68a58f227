"""Tensors made from sizes, and products of tensors."""

from typing import Any

import jax.numpy as jnp

from jaxlens.graph._tensor import Tensor, tensor
from jaxlens.graph.ops._table import elementwise, numbers, op, refuse


def _filled(value: float) -> Any:
    def fill(*sizes: Any, size: Any = None, dtype: Any = None) -> Tensor:
        return tensor(jnp.full(numbers(sizes if size is None else size), value, dtype or jnp.float32))

    return fill


def _new_filled(value: float) -> Any:
    def fill(input: Tensor, *sizes: Any, size: Any = None, dtype: Any = None) -> Tensor:
        return tensor(jnp.full(numbers(sizes if size is None else size), value, dtype or input.dtype))

    return fill


def _filled_like(value: float) -> Any:
    def fill(input: Tensor, *, dtype: Any = None) -> Tensor:
        return input.with_data(jnp.full_like(input.data, value, dtype=dtype))

    return fill


for _name, _value in (("zeros", 0), ("ones", 1)):
    op(_name)(_filled(_value))
    op(f"new_{_name}")(_new_filled(_value))
    op(f"{_name}_like")(_filled_like(_value))


@op("full")
def _full(size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return tensor(jnp.full(numbers((size,)), fill_value, dtype or (jnp.float32 if isinstance(fill_value, float) else None)))


@op("new_full")
def _new_full(input: Tensor, size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return tensor(jnp.full(numbers((size,)), fill_value, dtype or input.dtype))


@op("full_like")
def _full_like(input: Tensor, fill_value: Any, *, dtype: Any = None) -> Tensor:
    return input.with_data(jnp.full_like(input.data, fill_value, dtype=dtype))


@op("scalar_tensor", "tensor")
def _scalar(value: Any, *, dtype: Any = None) -> Tensor:
    return tensor(jnp.asarray(value, dtype))


@op("arange")
def _arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None) -> Tensor:
    refuse(any(isinstance(n, Tensor) for n in (start, end, step)), "arange whose size depends on the data")
    return tensor(jnp.arange(*((0, start) if end is None else (start, end)), step, dtype=dtype))


@op("linspace")
def _linspace(start: float, end: float, steps: int, *, dtype: Any = None) -> Tensor:
    return tensor(jnp.linspace(start, end, steps, dtype=dtype))


@op("meshgrid")
def _meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    tensors = tensors[0] if isinstance(tensors[0], tuple) else tensors
    return tuple(map(tensor, jnp.meshgrid(*(x.logical for x in tensors), indexing=indexing)))


@op("tril")
def _tril(input: Tensor, diagonal: int = 0) -> Tensor:
    return tensor(jnp.tril(input.logical, diagonal))


@op("triu")
def _triu(input: Tensor, diagonal: int = 0) -> Tensor:
    return tensor(jnp.triu(input.logical, diagonal))


@op("matmul", "bmm", "mm", "mv", "dot", "vdot", "__matmul__")
def _matmul(input: Tensor, other: Tensor, *, out: None = None) -> Tensor:
    ndim = max(input.ndim, other.ndim) if min(input.ndim, other.ndim) > 1 else 0
    a, b = (x.expanded(max(ndim, x.ndim)).logical for x in (input, other))
    product = jnp.matmul(a, b)
    return tensor(product, product.ndim - 1 if other.ndim == 2 and input.ndim > 1 else None)


@op("addmm", "baddbmm", "addmv")
def _addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return elementwise(lambda x, y: beta * x + alpha * y, input, _matmul(mat1, mat2))


@op("einsum")
def _einsum(equation: str, *operands: Any, path: Any = None) -> Tensor:
    refuse(not isinstance(equation, str), "einsum with lists of axes")
    operands = operands[0] if isinstance(operands[0], tuple) else operands
    return tensor(jnp.einsum(equation.replace(" ", ""), *(x.logical for x in operands)))


@op("tensordot")
def _tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: None = None) -> Tensor:
    return tensor(jnp.tensordot(a.logical, b.logical, dims if isinstance(dims, int) else tuple(map(tuple, dims))))


@op("outer", "ger")
def _outer(input: Tensor, vec2: Tensor) -> Tensor:
    return tensor(jnp.outer(input.logical, vec2.logical))


@op("embedding")
def _embedding(input: Tensor, weight: Tensor, padding_idx: Any = None, max_norm: Any = None, *gradients: Any) -> Tensor:
    """Look up rows of `weight`, in the order of arguments of `F.embedding` or of ATen's.

    `F.embedding(input, weight, padding_idx, max_norm, ...)` and
    `aten.embedding(weight, indices, padding_idx, scale, sparse)`: the last arguments only change
    the gradients of weights, except for `max_norm`.
    """
    indices = input
    if not jnp.issubdtype(input.dtype, jnp.integer):
        indices, weight, max_norm = weight, input, None
    refuse(max_norm is not None, "embedding with max_norm, which changes its weights")
    found = jnp.take(weight.logical, indices.logical, axis=0)
    return tensor(found, found.ndim - 1)


@op("one_hot")
def _one_hot(tensor_: Tensor, num_classes: int = -1) -> Tensor:
    refuse(num_classes < 0, "one_hot without num_classes: its size depends on the data")
    return tensor((tensor_.logical[..., None] == jnp.arange(num_classes)).astype(jnp.int32))
