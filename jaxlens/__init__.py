"""Look inside image networks, in JAX.

Everything in jaxlens is a function written with a few ideas:

1. `Model`: parameters and a pure forward function in which every layer is a named site
   (`jaxlens.model`, `jaxlens.modelzoo`).
2. Objective: a pytree that maps activations to a score to be maximized
   (`jaxlens.optvis.objectives`).
3. Parameterization: a map from parameters to images in [0, 1] (`jaxlens.optvis.param`).
4. Transform: a random movement of the images before the network sees them
   (`jaxlens.optvis.transform`).
5. Render: one compiled step of gradient ascent over a batch of tasks (`jaxlens.optvis.render`).

`jaxlens.recipes`, `jaxlens.attribution`, `jaxlens.microscope`, `jaxlens.plot` and
`jaxlens.training` are built on them. `jaxlens.data` loads images and `jaxlens.converters` converts
PyTorch's networks. Sub-packages load when they are touched.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxlens import _startup

if _startup.is_command():  # before the imports that take long
    _startup.leave_on_interrupt()

from jaxlens import _package
from jaxlens.model import Layer as Layer
from jaxlens.model import Model as Model
from jaxlens.model import activations as activations
from jaxlens.model import site as site

if TYPE_CHECKING:
    from jaxlens import attribution as attribution
    from jaxlens import converters as converters
    from jaxlens import data as data
    from jaxlens import errors as errors
    from jaxlens import graph as graph
    from jaxlens import microscope as microscope
    from jaxlens import model as model
    from jaxlens import modelzoo as modelzoo
    from jaxlens import optvis as optvis
    from jaxlens import plot as plot
    from jaxlens import recipes as recipes
    from jaxlens import training as training

__version__ = _package.VERSION

_LAZY = ("attribution", "converters", "data", "graph", "microscope", "modelzoo", "optvis", "plot", "recipes", "training")


if not TYPE_CHECKING:  # a type checker would take every name for an attribute

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return importlib.import_module(f"jaxlens.{name}")
        raise AttributeError(f"module 'jaxlens' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY} - {"importlib", "TYPE_CHECKING", "Any"})
