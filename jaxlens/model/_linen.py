"""Flax Linen modules as Models."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import errors, linen

from jaxlens.model._forward import Forward
from jaxlens.model._sites import site


class LinenForward(Forward):
    """The forward function of a Linen module."""

    def __call__(self, variables: Any, images: jax.Array) -> Any:
        def intercept(next_call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            path = ".".join(context.module.path)
            if not path or context.method_name != "__call__":
                return next_call(*args, **kwargs)
            return site(path, next_call, kind=type(context.module).__name__)(*args, **kwargs)

        try:
            with linen.intercept_methods(intercept):
                out = self.network.apply(variables, images, method=self.method, **dict(self.kwargs))
        except (errors.FlaxError, TypeError) as error:
            said = _explained(error, type(self.network).__name__)
            if said is None:
                raise
            raise ValueError(said) from error
        return self.picked(out)

    def updated(self, source: Any) -> tuple[Forward, Any]:
        """Return this function and the checked variables."""
        return self, _checked(source)


def taken_apart(module: Any, variables: Any, output: Any, call: Any, method: str | None) -> tuple[Any, LinenForward]:
    """Return the variables and the forward function of a module; see `Model.from_linen`."""
    if not isinstance(module, linen.Module):
        raise TypeError(f"module={type(module).__name__} must be a flax.linen.Module. For nnx modules there is Model.from_nnx.")
    if module.scope is not None:
        module, bound = module.unbind()
        variables = bound if variables is None else variables
    return _checked(variables), LinenForward(module, output, call, method)


def _checked(variables: Any) -> Any:
    """Return collections by name, or raise an error that says how to write `params` alone."""
    if not isinstance(variables, Mapping) or not variables:
        raise TypeError(f"variables={type(variables).__name__} must be what module.init gave: a dict of collections.")
    names = [str(name) for name in variables]
    if "params" not in names and any(name[:1].isupper() or name in ("kernel", "bias", "scale") for name in names):
        raise ValueError(
            f"variables holds {', '.join(map(repr, names[:4]))}: these are the params alone. Write "
            "variables={'params': params}, with the other collections, such as 'batch_stats', if there are any."
        )
    return variables


def _explained(error: Exception, module: str) -> str | None:
    """Return a message that says what to write, or None for errors of the user's own."""
    text = str(error)
    if isinstance(error, errors.ModifyScopeVariableError):
        return (
            f"{module} changes a variable while it runs, as batch statistics do in training: look at it in evaluation mode, "
            f"for instance call={{'train': False}} or use_running_average=True. ({text})"
        )
    if isinstance(error, errors.InvalidRngError):
        return (
            f"{module} draws random numbers while it runs, as dropout does in training: look at it in evaluation mode, for "
            f"instance call={{'train': False}} or deterministic=True. ({text})"
        )
    if isinstance(error, errors.ScopeParamNotFoundError | errors.ScopeVariableNotFoundError | errors.ScopeCollectionNotFound):
        return f"variables lacks what {module} reads: give all collections, variables={{'params': params, ...}}. ({text})"
    if isinstance(error, TypeError) and "missing" in text and "argument" in text:
        return f"{module} needs more than images: {text}. Give it with call=, for instance call={{'train': False}}."
    return None
