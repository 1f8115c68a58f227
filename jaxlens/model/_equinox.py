"""Equinox modules as Models. Equinox is imported only when a module of it is given."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens.model._calls import calls_are_sites
from jaxlens.model._forward import Forward
from jaxlens.model._sites import site


class EquinoxForward(Forward):
    """The forward function of an Equinox module, given the module without its arrays."""

    def key(self) -> Any:
        """Return leaves and structure, which hold activation functions, sizes and flags."""
        leaves, structure = jax.tree.flatten(self.network, is_leaf=lambda x: x is None)
        return tuple(leaves), structure

    def __call__(self, params: Any, images: jax.Array) -> Any:
        import equinox

        module = equinox.combine(params, self.network)
        with calls_are_sites(_parts(module, "", {}), _channels_last):
            out = jax.vmap(functools.partial(module, **dict(self.kwargs)))(jnp.moveaxis(images, -1, 1))
        return self.picked(out)

    def updated(self, source: Any) -> tuple[Forward, Any]:
        """Return both for a module, whose settings count too."""
        import equinox

        if not isinstance(source, equinox.Module):
            raise TypeError(
                f"source={type(source).__name__} must be an equinox.Module of the structure that the Model was made of."
            )
        params, static = _split(source)
        return self.of(static), params


def _channels_last(name: str, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Return a site of one image that shows maps `[C, H, W]` as `[H, W, C]`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        maps = False

        def seen(*args: Any, **kwargs: Any) -> Any:
            nonlocal maps
            out = call(*args, **kwargs)
            maps = isinstance(out, jax.Array) and out.ndim == 3
            return jnp.moveaxis(out, 0, -1) if maps else out

        out = site(name, seen, kind=kind)(*args, **kwargs)
        return jnp.moveaxis(out, -1, 0) if maps else out

    return run


def _parts(module: Any, path: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return the callable modules inside one, each under the first path at which it is found."""
    import equinox

    if isinstance(module, dict):
        children = list(module.items())
    elif isinstance(module, list | tuple):
        children = list(enumerate(module))
    elif isinstance(module, equinox.Module):
        children = list(vars(module).items())
        if path and callable(module) and not any(module is known for known in found.values()):
            found[path] = module
    else:
        children = []
    for name, child in children:
        _parts(child, f"{path}.{name}".lstrip("."), found)
    return found


def taken_apart(module: Any, output: Any, call: Any) -> tuple[Any, EquinoxForward]:
    """Return the arrays and the forward function of a module; see `Model.from_equinox`."""
    try:
        import equinox
    except ImportError as error:
        raise ImportError("Model.from_equinox needs Equinox: pip install equinox.") from error
    if not isinstance(module, equinox.Module) or not callable(module):
        raise TypeError(f"module={type(module).__name__} must be an equinox.Module that can be called with an image.")
    params, static = _split(module)
    return params, EquinoxForward(static, output, call)


def _split(module: Any) -> tuple[Any, Any]:
    """Return the arrays, and everything else, of the module in inference mode."""
    import equinox

    def array(leaf: Any) -> bool:
        return isinstance(leaf, jax.Array | np.ndarray)

    return equinox.partition(equinox.nn.inference_mode(module), array)
