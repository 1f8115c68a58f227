"""What every public function shares: arrays spread over devices, and warnings of what is NaN."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxlens._checks import check_flag, check_int, is_known
from jaxlens.attribution._result import Attribution
from jaxlens.errors import NonFiniteWarning
from jaxlens.model._activations import check_model

Fn = TypeVar("Fn", bound=Callable[..., Any])
MARK = "_jaxlens_entry"  # the attribute of a function that `entry` has decorated
# Checks of arguments that many methods have, by name; flags are found by their annotation.
_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "model": check_model,
    "batch_size": lambda value, name: value if value is None else check_int(value, name, low=1),
}


def varying(tree: Any, like: Any) -> Any:
    """Return the same values, marked inside `jax.shard_map` as different on each device.

    They differ there as the values of `like` do. Without the mark, their gradient would be the sum
    over all devices, and a loop would refuse a state that has become different.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    first = [jnp.ravel(leaf)[0] for leaf in jax.tree.leaves(like) if jnp.size(leaf)]
    here = functools.reduce(jnp.logical_or, (each == each for each in first))
    return jax.tree.map(lambda x: jnp.where(here, x, x), tree)


def entry(fn: Fn) -> Fn:
    """Make a public function: it checks, warns of NaN and infinity, and runs on explicit meshes.

    Explicit mesh axes want to know of every gather and product where its result should be, also in
    the user's network. So the axes are automatic inside; results that have an axis of images come
    out spread as the images were.
    """

    signature = inspect.signature(fn)
    flags = [name for name, each in signature.parameters.items() if each.annotation is bool]
    checks = {name: check for name, check in _CHECKS.items() if name in signature.parameters} | dict.fromkeys(flags, check_flag)

    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{fn.__name__}: {error}. It takes {', '.join(signature.parameters)}.") from None
        for name in checks.keys() & given.arguments.keys():
            given.arguments[name] = checks[name](given.arguments[name], name)
        found = fn(*given.args, **given.kwargs)
        _warn(fn.__name__, found)
        return found

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        images = next((x for x in map(_array, (*args, *kwargs.values())) if x is not None), None)
        sharding = None if images is None else getattr(jax.typeof(images), "sharding", None)
        if images is None or sharding is None or not sharding.mesh.explicit_axes:
            return checked(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)}
        outputs = []

        def inside(arrays: dict[int, jax.Array]) -> tuple[list[Any], list[Any]]:
            args, kwargs = jax.tree.unflatten(tree, [arrays.get(i, leaf) for i, leaf in enumerate(leaves)])
            found, result = jax.tree.flatten(checked(*args, **kwargs))
            each = [jnp.shape(x)[:1] == images.shape[:1] for x in found]
            outputs.append((result, each))
            return [x for x, per_image in zip(found, each, strict=True) if per_image], [
                x for x, per_image in zip(found, each, strict=True) if not per_image
            ]

        spread = tuple(_named(images, PartitionSpec(*axes)) for axes in (sharding.spec[:1], ()))
        outside: Any = jax.sharding.auto_axes(inside, out_sharding=spread)
        found = [iter(part) for part in outside(arrays)]
        result, each = outputs[0]
        return jax.tree.unflatten(result, [next(found[not per_image]) for per_image in each])

    setattr(wrapped, MARK, True)
    return wrapped  # type: ignore[return-value]


def _warn(name: str, found: Any) -> None:
    """Warn of the images whose result is NaN or infinite; traced results are not looked at."""
    scores = getattr(found, "scores", None)
    parts = [found.values, scores] if isinstance(found, Attribution) else jax.tree.leaves(getattr(found, "per_image", found))
    if not is_known(*parts):
        return
    finite = np.logical_and.reduce([np.asarray(_finite(part)) for part in parts])
    if finite.all():
        return
    if not isinstance(found, Attribution):
        why = "The network's scores are not finite there, or what is compared is all alike, which orders nothing."
    elif np.isfinite(np.asarray(scores)).all():
        why = "The network's scores are finite, so that it is a gradient or a quotient that is not."
    else:
        why = "So are the network's scores: look at its weights and preprocessing."
    which = ", ".join(map(str, np.flatnonzero(~finite)))
    warnings.warn(f"{name} is NaN or infinite for image(s) {which} of {len(finite)}. {why}", NonFiniteWarning, stacklevel=4)


@jax.jit
def _finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all(tuple(range(1, array.ndim)))


def _array(value: Any) -> jax.Array | None:
    """Return the array of an argument that has an axis of images, or None."""
    array = value.values if isinstance(value, Attribution) else value
    return array if isinstance(array, jax.Array) and jnp.ndim(array) else None


def _named(images: Any, spec: PartitionSpec) -> Any:
    """Return a sharding: the spec alone where a mesh is set, else with the mesh of the images."""
    if not jax.sharding.get_abstract_mesh().empty:
        return spec
    return NamedSharding((images if is_known(images) else jax.typeof(images)).sharding.mesh, spec)
