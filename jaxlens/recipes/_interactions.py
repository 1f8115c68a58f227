"""Sums of two neurons, and both signs of one."""

from typing import Any

from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.recipes._inputs import tasks_of


def interactions(model: Any, rows: Any, columns: Any, **options: Any) -> RenderResult:
    """Every sum of two neurons, one of each group: a grid of how they go together.

    Args:
        model: any Model.
        rows, columns: objectives, strings or lists, as in `render`.
        options: of `render`.

    Returns: a RenderResult with a task per pair, row by row: `plot.contact_sheet(result.images, result.names, columns=n)`.
    """
    return render(model, objectives.combine(tasks_of(model, rows), tasks_of(model, columns)), **options)


def both_signs(model: Any, objective: Any, **options: Any) -> RenderResult:
    """What raises objectives and what lowers them, in turn: each task is followed by its negative.

    Negative neurons show what suppresses a channel; look at layers before their ReLU, where that is not flat.
    """
    tasks = tasks_of(model, objective)
    return render(model, [sign for task in tasks for sign in (task, -task)], **options)
