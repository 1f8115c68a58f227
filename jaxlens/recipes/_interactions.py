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
    """Every sum of two neurons, one of each group: a grid of how they go together.

    Args:
        model: any Model.
        rows, columns: objectives, strings or lists, as in `render`.
        size, steps, options: of `render`.

    Returns: a RenderResult with a task per pair, row by row: `plot.contact_sheet(result.images, result.names, columns=n)`.
    """
    return render(model, objectives.combine(tasks_of(model, rows), tasks_of(model, columns)), size=size, steps=steps, **options)


def both_signs(
    model: ModelLike, objective: ObjectiveLike, *, size: Size = 128, steps: Whole = 512, **options: Unpack[RenderOptions]
) -> RenderResult:
    """What raises objectives and what lowers them, in turn: each task is followed by its negative.

    Negative neurons show what suppresses a channel; look at layers before their ReLU, where that is not flat.
    """
    tasks = tasks_of(model, objective)
    return render(model, [sign for task in tasks for sign in (task, -task)], size=size, steps=steps, **options)
