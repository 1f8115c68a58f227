"""Haiku's transformed functions as Models. Haiku is imported only when one is given."""

from collections.abc import Callable
from typing import Any

import jax

from jaxlens.model._forward import Forward
from jaxlens.model._sites import site


class HaikuForward(Forward):
    """The forward function of what `hk.transform` or `hk.transform_with_state` returned."""

    def __call__(self, params: Any, images: jax.Array) -> Any:
        import haiku

        def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            name = context.module.module_name.replace("/~/", "/").replace("/", ".")
            return site(name, call, kind=type(context.module).__name__)(*args, **kwargs)

        with haiku.intercept_methods(intercept):
            stateful = isinstance(self.network, haiku.TransformedWithState)
            given = (params["params"], params["state"]) if stateful else (params,)
            rng = () if _without_rng(self.network.apply) else (None,)
            try:
                out = self.network.apply(*given, *rng, images, **dict(self.kwargs))
            except ValueError as error:
                if type(error).__name__ != "MissingRNGError":
                    raise
                raise ValueError(
                    "The function draws random numbers while it runs, as dropout does in training: look at it in evaluation "
                    f"mode, for instance call={{'is_training': False}}. ({error})"
                ) from error
        return self.picked(out[0] if stateful else out)


def _without_rng(apply: Any) -> bool:
    """Return whether `hk.without_apply_rng` made it: it takes no random key before the images."""
    return apply.__qualname__.startswith("without_apply_rng")


def taken_apart(transformed: Any, params: Any, state: Any, output: Any, call: Any) -> tuple[Any, HaikuForward]:
    """Return parameters and forward function of a transformed function; see `Model.from_haiku`."""
    try:
        import haiku
    except ImportError as error:
        raise ImportError("Model.from_haiku needs Haiku: pip install dm-haiku.") from error
    stateful = isinstance(transformed, haiku.TransformedWithState)
    if not stateful and not isinstance(transformed, haiku.Transformed):
        raise TypeError(f"transformed={type(transformed).__name__} must be what hk.transform(fn) returned.")
    if stateful != (state is not None):
        which = "needs state=" if stateful else "has no state; leave state= out, or use hk.transform_with_state"
        raise ValueError(f"state={'None' if state is None else type(state).__name__}: the function {which}.")
    return {"params": params, "state": state} if stateful else params, HaikuForward(transformed, output, call)
