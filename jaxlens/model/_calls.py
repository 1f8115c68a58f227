"""Make calls of modules sites, for libraries that have no interceptors of their own."""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from jaxlens.model._replaced import replaced
from jaxlens.model._sites import site

PATH = "_jaxlens_path"  # the attribute of a module that says how its calls are named


def calls_are_sites(modules: Mapping[str, Any], around: Callable[..., Any] | None = None) -> AbstractContextManager[None]:
    """Make each call of the modules a site inside the `with`, under the module's path.

    Meanwhile `__call__` of their classes is wrapped, because Python looks up special methods on the
    class, and a subclass in its place would fail `type(module) is nnx.Conv`. Modules without a
    path, such as those of other threads, behave as before.

    Args:
        modules: private copies, by path.
        around: `around(name, call, kind)`, to take the place of `site(name, call, kind=kind)`.
    """
    for path, module in modules.items():
        object.__setattr__(module, PATH, path)
    classes = {type(module): None for module in modules.values()}
    return replaced([(cls, "__call__", functools.partial(_wrap, cls, around or _plain)) for cls in classes])


def _plain(name: str, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
    return site(name, call, kind=kind)


def _wrap(cls: type, around: Callable[..., Any], call: Any) -> Any:
    @functools.wraps(call)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A `__call__` that calls the one of its base class is one call.
        path = getattr(self, "__dict__", {}).get(PATH) if type(self) is cls else None
        bound = functools.partial(call, self)
        return bound(*args, **kwargs) if path is None else around(path, bound, cls.__name__)(*args, **kwargs)

    return wrapped
