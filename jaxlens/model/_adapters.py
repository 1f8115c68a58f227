"""Flax NNX modules, Flax Linen modules and plain functions as Models."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx

from jaxlens.model._model import Model
from jaxlens.model._sites import site


class NNXForward:
    """The forward function of an NNX module's graph definition; equal graphs are equal."""

    def __init__(self, graphdef: Any, output: Callable[[Any], Any] | None, kwargs: dict[str, Any]):
        self.graphdef, self.output, self.kwargs = graphdef, output, tuple(sorted(kwargs.items()))
        self._key: Any = (graphdef, output, self.kwargs)
        try:
            self._hash = hash(self._key)  # of a deep graph: worth computing once, not at each call
        except TypeError:  # a module that keeps a list or dict among its settings equals itself only
            self._key, self._hash = object(), id(self)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, NNXForward) and self._hash == other._hash and self._key == other._key)

    def __call__(self, params: Any, images: jax.Array) -> Any:
        module = nnx.merge(self.graphdef, params)  # a private copy, which may be changed
        for path, child in nnx.iter_modules(module):
            if path and callable(child):
                object.__setattr__(child, "_jaxlens_path", ".".join(map(str, path)))
                object.__setattr__(child, "__class__", _with_site(type(child)))
        out = module(images, **dict(self.kwargs))
        return out if self.output is None else self.output(out)


@functools.cache
def _with_site(cls: type) -> type:
    """A subclass of a module class whose every call is a site."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(cls.__call__, self)
        return site(self._jaxlens_path, call, kind=cls.__name__)(*args, **kwargs)

    return type(cls.__name__, (cls,), {"__call__": __call__, "__module__": cls.__module__})


def from_nnx(
    module: nnx.Module, *, output: Callable[[Any], Any] | None = None, call: dict[str, Any] | None = None, **options: Any
) -> Model:
    """A Model of a Flax NNX module.

    The module is copied, put in evaluation mode and left untouched. Each of its submodules is a
    layer under its attribute path (`blocks.0.conv1`).

    Args:
        module: called as `module(images)` with preprocessed images `[B, H, W, C]`, returns logits.
        output: picks the logits from what the module returns, if that is not one array.
        call: keyword arguments for the call, static.
        **options: attributes of `Model` (`preprocess`, `input_size`, `labels`, `name`, `channels`).
    """
    copy = nnx.merge(*nnx.split(module))
    copy.eval()
    graphdef, params = nnx.split(copy)
    options.setdefault("name", type(module).__name__)
    return Model(params=params, forward=NNXForward(graphdef, output, call or {}), **options)


@dataclasses.dataclass(frozen=True)
class LinenForward:
    """The forward function of a Linen module."""

    module: linen.Module
    output: Callable[[Any], Any] | None
    kwargs: tuple[tuple[str, Any], ...]

    def __call__(self, variables: Any, images: jax.Array) -> Any:
        def intercept(next_call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            path = ".".join(context.module.path)
            if not path or context.method_name != "__call__":
                return next_call(*args, **kwargs)
            return site(path, next_call, kind=type(context.module).__name__)(*args, **kwargs)

        with linen.intercept_methods(intercept):
            out = self.module.apply(variables, images, **dict(self.kwargs))
        return out if self.output is None else self.output(out)


def from_linen(
    module: linen.Module,
    variables: Any,
    *,
    output: Callable[[Any], Any] | None = None,
    call: dict[str, Any] | None = None,
    **options: Any,
) -> Model:
    """A Model of a Flax Linen module and its variables.

    Args:
        module: called as `module.apply(variables, images, **call)`, returns logits.
        variables: what `module.init` or training gave, all collections.
        output: picks the logits from what the module returns, if that is not one array.
        call: keyword arguments for the call, static, such as `{"train": False}`.
        **options: attributes of `Model`.
    """
    options.setdefault("name", type(module).__name__)
    return Model(params=variables, forward=LinenForward(module, output, tuple(sorted((call or {}).items()))), **options)


def from_function(fn: Callable[[Any, jax.Array], Any], params: Any, **options: Any) -> Model:
    """A Model of a plain JAX function `fn(params, images) -> logits`.

    Its layers are what it names with `jaxlens.site`. `fn` is compared by identity: build the Model once.
    """
    if not callable(fn):
        raise TypeError(f"fn={fn!r} must be a function (params, images) -> logits.")
    options.setdefault("name", getattr(fn, "__name__", "model"))
    return Model(params=params, forward=fn, **options)
