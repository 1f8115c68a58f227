"""Sums of two neurons, and both signs of one."""

from typing import Unpack

from jaxlens._types import Size, Whole
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import tasks_of


def interactions(
    model: ModelLike,
    rows: ObjectiveLike,
    columns: ObjectiveLike,
    *,
    size: Size = 128,
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render every sum of two neurons, one of each group: a grid of how they go together.

    Args:
        model: any Model.
        rows, columns: objectives, strings or lists, as in `render`.
        size, steps, options: of `render`.

    Returns: a RenderResult with a task per pair, row by row;
        `plot.contact_sheet(result.images, result.names, columns=n)` shows it.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.interactions(
        ...     model, "conv1:0", "conv1:1-2", size=(24, 32), steps=2, transforms=[],
        ...     progress=False)
        >>> result.names
        ('conv1:0 + conv1:1', 'conv1:0 + conv1:2')
    """
    return render(model, objectives.combine(tasks_of(model, rows), tasks_of(model, columns)), size=size, steps=steps, **options)


def both_signs(
    model: ModelLike, objective: ObjectiveLike, *, size: Size = 128, steps: Whole = 512, **options: Unpack[RenderOptions]
) -> RenderResult:
    """Render what raises objectives and what lowers them: each task is followed by its negative.

    Negative neurons show what suppresses a channel. Take layers before their ReLU, which is flat
    there.

    Args:
        model: any Model.
        objective, size, steps, options: as in `render`.

    Returns: a RenderResult with two tasks per objective.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.both_signs(
        ...     model, "conv1:3", size=(24, 32), steps=2, transforms=[], progress=False)
        >>> result.names
        ('conv1:3', '-conv1:3')
    """
    tasks = tasks_of(model, objective)
    return render(model, [sign for task in tasks for sign in (task, -task)], size=size, steps=steps, **options)
