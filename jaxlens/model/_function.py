"""Plain JAX functions as Models."""

from collections.abc import Callable
from typing import Any

import jax

from jaxlens._checks import check_function
from jaxlens.model._assumed import settled
from jaxlens.model._model import Model


def from_function(fn: Callable[[Any, jax.Array], Any], params: Any, *, example: Any = None, **options: Any) -> Model:
    """A Model of a plain JAX function `fn(params, images) -> logits`.

    Its layers are what it names with `jaxlens.site`. `fn` is compared by identity: build the Model once.

    Args:
        fn: from parameters and preprocessed images `[B, H, W, C]` to logits `[B, N]`.
        params: any pytree of arrays.
        example: images `[B, H, W, C]`, from whose shape `input_size` and `channels` are taken.
        **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

    Warns:
        AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
    """
    check_function(fn, "fn", "forward(params, images) -> logits")
    name = options.pop("name", getattr(fn, "__name__", "model"))
    return settled(Model(params=params, forward=fn, name=name), example, options)
