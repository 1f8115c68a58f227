"""What a class looks like to a network."""

from typing import Any

import jax.numpy as jnp

from jaxlens._checks import check_number
from jaxlens._numerics import absolute
from jaxlens.model import check_model
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.recipes._inputs import canvas


def class_visualization(
    model: Any,
    label: Any,
    *,
    layer: Any = "logits",
    size: Any = None,
    smooth: Any = 0.0,
    shrink: Any = 0.0,
    **options: Any,
) -> RenderResult:
    """What a class looks like to a network: pictures that raise its logit (Simonyan et al. 2014, arXiv:1312.6034).

    Maximises `logit - smooth * (mean |dx| + mean |dy|) - shrink * mean (x - 0.5)**2`.

    Args:
        model: any Model.
        label: a class number, a name in `model.labels`, or a list of these; each is a task.
        layer: the logits, not their softmax, which rises as other classes fall.
        size: of the pictures; by default what the network was trained on.
        smooth, shrink: weights of penalties; the parameterization and the transforms make them dispensable.
        options: of `render`.
    """
    objective = objectives.class_logit(layer, label)
    model = check_model(model)
    for weight, name, penalty in ((smooth, "smooth", roughness), (shrink, "shrink", contrast)):
        if weight := check_number(weight, name, low=0):
            objective = objective - weight * objectives.as_objective(penalty)
    own = canvas(model, options, tuple(model.input_size) if size is None else size)
    return render(model, objective, param=own, **options)


def roughness(T: Any) -> Any:
    """The mean step from a pixel to the next one, down and to the right."""
    return absolute(jnp.diff(T("input"), axis=1)).mean() + absolute(jnp.diff(T("input"), axis=2)).mean()


def contrast(T: Any) -> Any:
    """The mean squared distance from grey."""
    return jnp.square(T("input") - 0.5).mean()
