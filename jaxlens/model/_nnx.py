"""Flax NNX modules as Models."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxlens.model._calls import calls_are_sites
from jaxlens.model._forward import Forward
from jaxlens.model._sites import site


class NNXForward(Forward):
    """The forward function of an NNX module, given its graph definition."""

    def __call__(self, params: Any, images: jax.Array) -> Any:
        # Variables are copied too: those of `params` belong to another trace and cannot be changed.
        module = nnx.merge(self.network, params, copy=True)
        parts = {".".join(map(str, path)): child for path, child in nnx.iter_modules(module) if path and callable(child)}
        call = module if self.method is None else getattr(module, self.method)
        with calls_are_sites(parts, _evaluated):
            out = call(images, **dict(self.kwargs))
        return self.picked(out)

    def updated(self, source: Any) -> tuple[Forward, Any]:
        """Return both for a module, whose settings count too."""
        if not isinstance(source, nnx.Module):
            raise TypeError(
                f"source={type(source).__name__} must be an nnx.Module of the structure that the Model was made of."
            )
        graphdef, params = nnx.split(_evaluating(source))
        return self.of(graphdef), params


def taken_apart(module: Any, output: Any, call: Any, method: str | None) -> tuple[Any, NNXForward]:
    """Return the parameters and the forward function of a module; see `Model.from_nnx`."""
    _check(module)
    if method is not None and not callable(getattr(module, str(method), None)):
        raise ValueError(f"method={method!r} is no method of {type(module).__name__}.")
    graphdef, params = nnx.split(_evaluating(module))
    return params, NNXForward(graphdef, output, call, method)


def _evaluated(path: str, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """Return a layer as a site that refuses to run as in training.

    There an image would depend on its neighbors (batch norm) or on chance (dropout).
    """
    module = call.args[0]  # type: ignore[attr-defined]
    switch = {nnx.BatchNorm: "use_running_average", nnx.Dropout: "deterministic"}
    name = next((switch[cls] for cls in type(module).__mro__ if cls in switch), "")

    def run(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get(name)
        if given is None and name == "use_running_average" and len(args) > 1:
            given = args[1]
        if given is False:
            raise ValueError(
                f"Layer {path!r} runs as in training: the forward pass says {name}=False. Leave it out, so that the evaluation "
                "mode of the Model holds, or give the network a switch for it, such as call={'train': False}."
            )
        return call(*args, **kwargs)

    return site(path, run if name else call, kind=kind)


def _evaluating(module: Any) -> Any:
    """Return a copy in evaluation mode, without what calls have left in it (`sow`, `perturb`)."""
    copy = nnx.merge(*nnx.split(module), copy=True)
    nnx.pop(copy, nnx.Intermediate)
    copy.eval()
    return copy


def _check(module: Any) -> None:
    if isinstance(module, nnx.Module):
        return
    origin = {cls.__module__.partition(".")[0] for cls in type(module).__mro__}
    if "torch" in origin:
        hint = "It is a torch module: jaxlens.Model.from_torch(module, input_size=(224, 224))."
    elif any(cls.__module__.startswith("flax.linen") for cls in type(module).__mro__):
        hint = "It is a Linen module: jaxlens.Model.from_linen(module, variables)."
    elif "jaxlens" in origin:
        hint = "It is a Model already."
    elif isinstance(module, type):
        hint = f"It is a class: make a module of it, {module.__name__}(..., rngs=nnx.Rngs(0))."
    else:
        hint = "For functions there is jaxlens.Model.from_function(fn, params)."
    raise TypeError(f"module={type(module).__name__} must be a flax.nnx.Module. {hint}")
