"""Several pictures of one objective that are as different as they can be."""

from typing import Unpack

from jaxlens._checks import check_int, check_number
from jaxlens._types import Number, Size, Text, Whole
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import canvas, merged, tasks_of


def diversity(
    model: ModelLike,
    objective: ObjectiveLike,
    layer: Text,
    *,
    count: Whole = 4,
    weight: Number = 1e2,
    size: Size = 128,
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Several pictures of the same objective that are as different as they can be: the facets of a neuron.

    Args:
        model: any Model.
        objective: as in `render`; each of its tasks gets `count` pictures.
        layer: where they should differ, in Gram matrices (`objectives.diversity`); Lucid takes the neuron's own.
        count: how many pictures.
        weight: of the diversity.
        size, steps, options: of `render`.
    """
    check_int(count, "count", low=2)
    weight = check_number(weight, "weight")
    terms = [task - weight * objectives.diversity(layer) for task in tasks_of(model, objective)]
    own = canvas(model, options.pop("param", None), size, count)
    return render(model, terms, steps=steps, **merged(options, param=own))
