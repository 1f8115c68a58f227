"""Weights given to a Model: copied, and checked against the structure it was made of."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import owned


def own(params: Any) -> Any:
    """Return a copy of parameters.

    Their owner may change dicts and NumPy arrays in place, and donate buffers to a training step.
    """

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return owned(leaf)
        return jnp.array(leaf) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(copied, params)


def is_torchs(source: Any) -> bool:
    """Return whether `source` is a module or tensor of PyTorch, or a dict of such."""
    some = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return any(cls.__module__.partition(".")[0] == "torch" for cls in type(some).__mro__)


def same_structure(old: Any, new: Any, model: str) -> Any:
    """Return a copy of new parameters in the structure and dtypes of the old: `Model.update`."""

    def named(tree: Any) -> dict[str, Any]:
        return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}

    before, after = named(old), named(new)
    if before.keys() != after.keys():
        lacking, extra = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
        raise ValueError(f"source is not of the structure of {model}: it lacks {lacking[:4]} and has {extra[:4]} besides.")
    leaves = []
    for name, leaf in before.items():
        other = after[name]
        if jnp.shape(leaf) != jnp.shape(other):
            raise ValueError(f"source{name} has shape {jnp.shape(other)}, but {model} has {jnp.shape(leaf)} there.")
        kinds = (jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in (leaf, other))
        if len(set(kinds)) > 1:
            raise ValueError(f"source{name} holds {jnp.result_type(other)}, but {model} has {jnp.result_type(leaf)} there.")
        leaves.append(
            other if jnp.result_type(leaf) == jnp.result_type(other) else jnp.asarray(other).astype(jnp.result_type(leaf))
        )
    return own(jax.tree.unflatten(jax.tree.structure(old), leaves))
