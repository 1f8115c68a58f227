"""Run a network up to the layers wanted, and answer questions that its shapes alone decide."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlens._checks import check_images, check_some
from jaxlens._program import trace
from jaxlens.errors import GradientRuleError
from jaxlens.model import _architecture
from jaxlens.model._architecture import Architecture, Avals, Size
from jaxlens.model._interceptors import Replace, bind
from jaxlens.model._rules import GradientRule, apply_rule
from jaxlens.model._sites import MovingInterceptor, NestedSite, Site


def run(model: Any, images: jax.Array, names: tuple[str, ...], interceptors: Sequence[Any] = ()) -> dict[str, Array]:
    """`activations` for canonical names and bound interceptors, to be called in traced code."""
    return run_network(model.architecture, model.params, model.rule, images, names, interceptors)


run_jit = jax.jit(run, static_argnames=("names",))


def run_network(
    architecture: Architecture,
    params: Any,
    rule: GradientRule | None,
    images: jax.Array,
    names: tuple[str, ...],
    interceptors: Sequence[Any] = (),
) -> dict[str, Array]:
    """`run` for the parts of a Model. The forward pass stops at the last layer needed.

    JAX does not even trace the rest of the network.
    """
    if rule is None:
        return _read(architecture, params, images, names, interceptors)
    # Rules are written for one example: no image may depend on its neighbors.
    moving = tuple(each if isinstance(each, MovingInterceptor) else None for each in interceptors)
    fixed = tuple(each if moving[i] is None else None for i, each in enumerate(interceptors))
    axes = tuple(each and each.batch_axes() for each in moving)

    def read(varied: Any, params: Any, fixed: Any) -> dict[str, Array]:
        image, moving = varied
        both = [b if a is None else a for a, b in zip(moving, fixed, strict=True)]
        return _read(architecture, params, image, names, both)

    def for_image(image: jax.Array, moving: Any) -> dict[str, Array]:
        single = tuple(
            each if axis is None else jax.tree.map(lambda x: x[None], each) for each, axis in zip(moving, axes, strict=True)
        )
        values = apply_rule(rule, read)((image[None], single), params, fixed)
        return {name: value[0] for name, value in values.items()}

    return jax.vmap(for_image, in_axes=(0, axes))(images, moving)


def read(model: Any, images: Any, layers: Any, interceptors: Sequence[Any]) -> dict[str, Array]:
    """Return what layers output; see `jaxlens.activations`."""
    if isinstance(layers, str):
        raise TypeError(f"layers={layers!r} must be a list of names: [{layers!r}].")
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers={layers!r} must be a list of names, such as ['logits'].")
    images = check_some(check_images(images, channels=model.channels))
    names = {layer: model.resolve(layer) for layer in layers}
    model.shapes(images.shape[1:3], list(layers))
    values = run_jit(model, images, tuple(dict.fromkeys(names.values())), bind(model, interceptors))
    return {layer: values[name] for layer, name in names.items()}


class _Done(BaseException):
    """Raised inside a forward pass once all layers wanted have run."""


def _read(
    architecture: Architecture, params: Any, images: jax.Array, names: tuple[str, ...], interceptors: Sequence[Any]
) -> dict[str, Array]:
    found: dict[str, Array] = {}

    def collect(site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if site.name in names:
            found[site.name] = out
            if len(found) == len(names):
                raise _Done
        return out

    size = architecture.input_size
    totals, nested = _architecture.call_totals(architecture, size), _architecture.trace(architecture, size).nested
    try:
        with contextlib.suppress(_Done):
            _architecture.forward(architecture, params, images, [*interceptors, collect], totals, nested=nested)
    except NestedSite as error:
        raise RuntimeError(
            f"Layer {str(error)!r} runs inside an inner jit, checkpoint, scan or vmap for images of shape "
            f"{images.shape[1:]}, and not at input_size={size}: set input_size to the size you show."
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise RuntimeError(
            f"Layers {missing} did not run for images of shape {images.shape[1:]}, although they do at "
            f"input_size={size}: the network takes another way. Set input_size to the size you show."
        )
    return found


# Answers that follow from shapes alone are cached per architecture, layers and size: rendering asks
# for them at every call.


@functools.lru_cache(maxsize=1024)
def shapes_of(architecture: Architecture, names: tuple[str, ...], size: Size) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return by layer the output shape for one image of a size."""
    jaxpr, out = _abstract_run(architecture, names, size, None)
    # An empty array, at a named layer or between two: its mean would silently be NaN.
    if any(0 in getattr(var.aval, "shape", ()) for eqn in jaxpr.jaxpr.eqns for var in eqn.outvars):
        raise ValueError("the image vanishes on the way")
    return tuple((name, tuple(value.shape[1:])) for name, value in out.items())


@functools.lru_cache(maxsize=1024)
def accepts(architecture: Architecture, names: tuple[str, ...], rule: Any, leaves: Avals) -> bool:
    """Return whether a gradient rule knows every nonlinearity on the way to the layers.

    The rule is given as its tree structure and the shapes of its leaves, which are hashable.
    """
    try:
        _abstract_run(architecture, names, architecture.input_size, _architecture.structs(rule, leaves))
    except GradientRuleError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def leads_to(architecture: Architecture, layer: str, names: tuple[str, ...]) -> bool:
    """Return whether the outputs of `names` depend on values put in place of the layer's output."""
    shape = dict(shapes_of(architecture, (layer,), architecture.input_size))[layer]
    values = jax.ShapeDtypeStruct((1, *shape), jnp.float32)

    def call(values: jax.Array, image: jax.Array, params: Any) -> dict[str, Array]:
        given = () if layer == "input" else (Replace(value=values, layer=layer),)
        return run_network(architecture, params, None, values if layer == "input" else image, names, given)

    program = trace(call, (values, architecture.image(), architecture.params()))
    return any(value.depends for value in program.outputs)


def _abstract_run(architecture: Architecture, names: tuple[str, ...], size: Size, rule: Any) -> Any:
    """Return the jaxpr of `run_network` and the shapes of what it returns, for one image."""

    def call(params: Any, images: jax.Array, rule: Any) -> dict[str, Array]:
        return run_network(architecture, params, rule, images, names)

    return jax.make_jaxpr(call, return_shape=True)(architecture.params(), architecture.image(size), rule)


@functools.lru_cache(maxsize=256)
def fits(architecture: Architecture, size: Size) -> bool:
    """Return whether the whole network runs for images of a size."""
    try:
        _architecture.trace(architecture, size)
    except (TypeError, ValueError, ZeroDivisionError):
        return False
    return True
