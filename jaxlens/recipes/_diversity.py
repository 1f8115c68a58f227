"""Several pictures of one objective that differ as much as possible."""

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
    """Render the facets of a neuron: pictures of one objective that differ as much as possible.

    Args:
        model: any Model.
        objective: as in `render`; each of its tasks gets `count` pictures.
        layer: where they should differ, in Gram matrices (`objectives.diversity`); Lucid takes the
            neuron's own layer.
        count: how many pictures.
        weight: of the diversity.
        size, steps, options: of `render`.

    Returns: a RenderResult with `count` images in each task.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.diversity(
        ...     model, "conv2:3", "conv2", count=3, size=(24, 32), steps=2, transforms=[],
        ...     progress=False)
        >>> result.images.shape
        (1, 3, 24, 32, 3)
    """
    check_int(count, "count", low=2)
    weight = check_number(weight, "weight")
    terms = [task - weight * objectives.diversity(layer) for task in tasks_of(model, objective)]
    own = canvas(model, options.pop("param", None), size, count)
    return render(model, terms, steps=steps, **merged(options, param=own))
