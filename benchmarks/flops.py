"""Floating-point operations of a layer and its gradient, by hand and by XLA's count of the step."""

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from jaxlens._program import trace
from jaxlens.model import Model
from jaxlens.model._run import run
from jaxlens.optvis.render import _step


def needed(model: Model, layer: str, size: tuple[int, int]) -> float:
    """Count the operations of convolutions and matrix products for one image.

    They compute the value of a layer and its image gradient.

    A multiplication and an addition are two. The gradient of a product takes as many as the product
    for each factor that depends on the image: for one of them where weights are frozen, but for two
    between queries and keys. What is not counted (ReLUs, pools, norms, the image and its
    transforms) has few operations, however long it takes.
    """
    images = jax.ShapeDtypeStruct((1, *size, model.channels), jnp.float32)
    program = trace(lambda images, model: run(model, images, (model.resolve(layer),)), (images, model), inside=True)
    return sum(
        product(step.equation) * (1 + sum(value.depends for value in step.operands))
        for step in program.on_path
        if step.name in ("conv_general_dilated", "dot_general")
    )


def product(equation: Any) -> float:
    """Count the operations of one convolution or matrix product, including zeros of the padding."""
    left, right = (var.aval.shape for var in equation.invars[:2])
    out = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * out * math.prod(left[axis] for axis in contracted)
    channels = right[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * out * math.prod(right) / channels / math.prod(equation.params["lhs_dilation"])


class _Caught(BaseException):
    """The lowered step, on its way out of `render`."""


def lowered(call: Callable[[], Any]) -> Any:
    """Return the step that a call of `render` would run, as a `jax.stages.Lowered`."""
    plain = _step.step

    class Catch:
        lower = plain.lower

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise _Caught(plain.lower(*args, **kwargs))

    with mock.patch.object(_step, "step", Catch()):
        try:
            call()
        except _Caught as caught:
            return caught.args[0]
    raise RuntimeError("render ran no step: give it steps=1 or more.")


def counted(stage: Any) -> float | None:
    """Return XLA's own count for a lowered or a compiled step, or None where it has none.

    Of a compiled step on a GPU it misses convolutions, which are calls to a library by then: ask
    the lowered one.
    """
    analysis = stage.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return None if not analysis or analysis.get("flops", -1) < 0 else float(analysis["flops"])
