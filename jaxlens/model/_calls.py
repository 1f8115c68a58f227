"""Modules whose calls are sites, for libraries that have no interceptors of their own."""

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from jaxlens.model._replaced import replaced
from jaxlens.model._sites import site

PATH = "_jaxlens_path"  # the attribute of a module that says how its calls are named


def calls_are_sites(modules: Mapping[str, Any], around: Callable[..., Any] | None = None) -> AbstractContextManager[None]:
    """Makes each call of the modules, by path, a site inside the `with`.

    `__call__` of their classes is wrapped meanwhile: special methods are looked up on the class, and a subclass in place of the
    class would not be what `type(module) is nnx.Conv` asks for. Modules without a path, such as those of other threads, do what
    they did.

    Args:
        modules: by path. They must be private copies.
        around: `around(name, call, kind)` in place of `site(name, call, kind=kind)`.
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
        # a method that calls that of its base class is one call
        path = getattr(self, "__dict__", {}).get(PATH) if type(self) is cls else None
        bound = functools.partial(call, self)
        return bound(*args, **kwargs) if path is None else around(path, bound, cls.__name__)(*args, **kwargs)

    return wrapped
