"""Padding in every mode."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxlens.graph._tensor import Tensor
from jaxlens.graph.ops._shape import _cat, _getitem
from jaxlens.graph.ops._table import op, refuse


@op("pad", "constant_pad_nd")
def _pad(input: Tensor, pad: Sequence[int], mode: Any = "constant", value: Any = None) -> Tensor:
    if not isinstance(mode, str):  # constant_pad_nd(input, pad, value)
        mode, value = "constant", mode
    amounts = {input.ndim - 1 - i // 2: (pad[i], pad[i + 1]) for i in range(0, len(pad), 2)}
    pads = [amounts.get(axis, (0, 0)) for axis in input.order]
    if mode == "constant":
        fill = jnp.asarray(0 if value is None else value, input.dtype)
        return input.with_data(lax.pad(input.data, fill, [(low, high, 0) for low, high in pads]))
    refuse(any(n < 0 for each in pads for n in each), f"negative padding in mode {mode!r}")
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    refuse(mode not in modes, f"padding mode {mode!r}")
    most = {"reflect": -1, "replicate": math.inf, "circular": 0}[mode]  # JAX would go round again
    if any(max(each) > n + most for each, n in zip(pads, input.data.shape, strict=True) if each != (0, 0)):
        raise ValueError(f"padding {tuple(pad)} in mode {mode!r} is too large for shape {input.shape}")
    return input.with_data(jnp.pad(input.data, pads, modes[mode]))


@op("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def _reflection_pad(input: Tensor, padding: Sequence[int]) -> Tensor:
    return _pad(input, padding, "reflect")


@op("replication_pad1d", "replication_pad2d", "replication_pad3d")
def _replication_pad(input: Tensor, padding: Sequence[int]) -> Tensor:
    return _pad(input, padding, "replicate")


@op("_patch_merging_pad")  # torchvision's Swin: the four pixels of a 2x2 square side by side
def _patch_merging(x: Tensor) -> Tensor:
    h, w, _ = x.shape[-3:]
    x = _pad(x, (0, 0, 0, w % 2, 0, h % 2))
    quarters = [(..., slice(i, None, 2), slice(j, None, 2), slice(None)) for j in (0, 1) for i in (0, 1)]
    return _cat([_getitem(x, quarter) for quarter in quarters], -1)
