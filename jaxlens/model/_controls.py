"""Controls for analyses: the network with weights drawn anew."""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._checks import suggest
from jaxlens._params import named
from jaxlens.model._model import Model


@jax.jit
def redrawn(tensors: dict[str, Any], key: Any) -> dict[str, Any]:
    """Draw tensors anew from normals of the old mean and deviation, with keys of their names."""

    def redraw(name: str, old: jax.Array) -> jax.Array:
        normal = jax.random.normal(jax.random.fold_in(key, zlib.crc32(name.encode())), old.shape, old.dtype)
        new = old.mean() + old.std() * normal
        return jnp.where(old.min() >= 0, jnp.abs(new), new)

    return {name: redraw(name, jnp.asarray(old)) for name, old in tensors.items()}


def drawable(params: Any) -> dict[str, Any]:
    """Return the parameters that can be drawn, by dotted name."""
    return {name: leaf for name, leaf in named(params) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)}


def parameter_groups(model: Model, layers: Sequence[str] | None) -> dict[str, list[str]]:
    """Return parameter names by the group that is randomized at once, in the order of that."""
    names = list(drawable(model.params))
    if layers is not None:
        if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
            raise TypeError(f"layers={layers!r} must be a list of names, such as {list(model.layers)[-2:-1]}, or None for all.")
        return {layer: _beneath(layer, names, model) for layer in layers}
    owners = {name: _owner(name, model) for name in names}
    places = {owner: place for place, owner in enumerate(dict.fromkeys(owners.values()))}
    # A container's own parameters are as deep as the first layer in it.
    first: dict[str, int] = {}
    for position, layer in enumerate(model.layers):
        parts = layer.partition("@")[0].split(".")
        for end in range(1, len(parts) + 1):
            first.setdefault(".".join(parts[:end]), position)
    order = sorted(places, key=lambda owner: (first.get(owner, -1), places[owner]), reverse=True)
    return {owner: [name for name in names if owners[name] == owner] for owner in order}


def _owner(name: str, model: Model) -> str:
    """Return the layer that a parameter belongs to, else its name without the last part."""
    known = {layer.partition("@")[0] for layer in model.layers}
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for start in (0, 1):  # Linen's names begin with a collection's
            if start < end and ".".join(parts[start:end]) in known:
                return ".".join(parts[start:end])
    return ".".join(parts[:-1]) or name


def _beneath(layer: str, names: list[str], model: Model) -> list[str]:
    """Return the parameters of a layer and of the layers in it.

    If there are none, return those of layers whose names go on as `mixed4a_1x1` does from
    `mixed4a`.
    """
    for separator in (".", "_"):
        found = [name for name in names if f"{_owner(name, model)}{separator}".startswith(f"{layer}{separator}")]
        if found:
            return found
    owners = dict.fromkeys(_owner(name, model) for name in names)
    raise LookupError(f"layers: {layer!r} has no parameters in {model.name}. Closest that has: {suggest(layer, owners)}.")
