"""Several pictures of one objective that are as different as they can be."""

from typing import Any

from jaxlens._checks import check_int, check_number
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.recipes._inputs import canvas, tasks_of


def diversity(
    model: Any, objective: Any, layer: Any, *, count: Any = 4, weight: Any = 1e2, size: Any = 128, **options: Any
) -> RenderResult:
    """Several pictures of the same objective that are as different as they can be: the facets of a neuron.

    Args:
        model: any Model.
        objective: as in `render`; each of its tasks gets `count` pictures.
        layer: where they should differ, in Gram matrices (`objectives.diversity`); Lucid takes the neuron's own.
        count: how many pictures.
        weight: of the diversity.
        size, options: of `render`.
    """
    check_int(count, "count", low=2)
    weight = check_number(weight, "weight")
    terms = [task - weight * objectives.diversity(layer) for task in tasks_of(model, objective)]
    own = canvas(model, options, size, count)
    return render(model, terms, param=own, **options)
