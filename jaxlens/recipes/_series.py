"""Several pictures of one thing, or one picture of several: diversity, interpolation, interaction, both signs, methods."""

import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import brief, check_int, check_number, check_size
from jaxlens._numerics import absolute
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.render import RenderResult, evaluate, render
from jaxlens.recipes._inputs import canvas, refuse_param, tasks_of


def diversity(
    model: Any, objective: Any, layer: Any, *, batch: Any = 4, weight: Any = 1e2, size: Any = 128, **options: Any
) -> RenderResult:
    """Several pictures of the same objective that are as different as they can be: the facets of a neuron.

    Args:
        model: any Model.
        objective: as in `render`; each of its tasks gets `batch` pictures.
        layer: where they should differ, in Gram matrices (`objectives.diversity`); Lucid takes the neuron's own.
        batch: how many pictures.
        weight: of the diversity.
        size, options: of `render`.
    """
    _check_several(batch)
    weight = check_number(weight, "weight")
    terms = [task - weight * objectives.diversity(layer) for task in tasks_of(model, objective)]
    own = canvas(model, options, size, batch)
    return render(model, terms, param=own, **options)


def interpolate(
    model: Any,
    first: Any,
    second: Any,
    *,
    batch: Any = 6,
    weight: Any = 0.1,
    size: Any = 128,
    **options: Any,
) -> RenderResult:
    """Pictures on the way from one channel to another, which share their coarse structure.

    Args:
        model: any Model.
        first, second: layer and channel.
        batch: how many pictures, both ends included.
        weight: of the alignment of neighbours in the first one's layer (decay 5, as in Lucid's notebook).
        size, options: of `render`.
    """
    _check_several(batch)
    for name, end in (("first", first), ("second", second)):
        if not isinstance(end, tuple | list) or len(end) != 2:
            raise TypeError(f"{name}={end!r} must be (layer, channel), such as ('mixed4a', 3).")
    objective = objectives.channel_interpolate(*first, *second)
    if weight := check_number(weight, "weight"):
        objective = objective + weight * objectives.alignment(first[0], 5.0)
    own = options.pop("param", None)
    if own is None:
        height, width = check_size(size, "size")
        own = param.aligned(width, height, batch, channels=check_model(model).channels)
    return render(model, objective, param=own, **options)


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


def compare_methods(
    model: Any, objective: Any, *, size: Any = 128, smooth: Any = 0.5, blur: Any = 0.5, **options: Any
) -> dict[str, RenderResult]:
    """The same objectives drawn in several ways, from none of the field's tricks to all: why each is there.

    Pixels alone; pixels with penalties, on total variation and on what `blur_input_each_step` takes away; pixels under random
    transforms; Fourier coefficients in decorrelated colours; and those under random transforms, which is what `render` does.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the pictures.
        smooth, blur: weights of the penalties: what each would take from the score of the picture of pixels alone, as a
            fraction of it, so that they mean the same for every network.
        options: of `render`, for all of them; `transforms` where there are any.

    Returns: `{name: RenderResult}` in that order: `plot.comparison(recipes.compare_methods(...))` shows them as a table.
    """
    refuse_param(options, "the methods are the parameterizations")
    smooth, blur = check_number(smooth, "smooth", low=0), check_number(blur, "blur", low=0)
    tasks, moving, fixed = tasks_of(model, objective), options.pop("transforms", None), options.get("fixed_image_size")
    pixels, fourier = canvas(model, {}, size, fft=False, decorrelate=False), canvas(model, {}, size)
    ids = [zlib.crc32(task.describe().encode()) for task in tasks]  # the same draws for every method

    def drawn(tasks: Any, how: Any, transforms: Any) -> RenderResult:
        own: dict[str, Any] = {"ids": ids} | options | {"transforms": transforms}
        return render(model, tasks, param=how, **own)

    alone = drawn(tasks, pixels, [])
    penalties = (objectives.total_variation(), objectives.blur_input_each_step())
    reached = np.abs(evaluate(model, tasks, alone.images, fixed_image_size=fixed))
    paid = [evaluate(model, [penalty] * len(tasks), alone.images, fixed_image_size=fixed) for penalty in penalties]
    prices = [share * reached / np.maximum(cost, 1e-6) for share, cost in zip((smooth, blur), paid, strict=True)]
    penalised = [task - a * penalties[0] - b * penalties[1] for task, a, b in zip(tasks, *prices, strict=True)]
    return {
        "pixels": alone,
        "pixels, penalties": drawn(penalised, pixels, []),
        "pixels, transforms": drawn(tasks, pixels, moving),
        "Fourier": drawn(tasks, fourier, []),
        "Fourier, transforms": drawn(tasks, fourier, moving),
    }


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


def evolution(result: Any, task: Any = 0) -> tuple[np.ndarray, list[str]]:
    """The snapshots of one task in order, and their names: `plot.contact_sheet(*recipes.evolution(result))`.

    Args:
        result: of a `render(..., thresholds=(1, 32, 128, 512))`.
        task: which of its tasks.
    """
    if not isinstance(result, RenderResult):
        raise TypeError(f"result={brief(repr(result), 80)} must be the RenderResult of a render.")
    task = check_int(task, "task", low=0, high=len(result.images) - 1)
    if not result.snapshots:
        raise ValueError("result has no snapshots: render with thresholds=(1, 32, 128, 512).")
    steps = sorted(result.snapshots)
    return np.stack([result.snapshots[step][task, 0] for step in steps]), [f"step {step}" for step in steps]


def _check_several(batch: Any) -> None:
    check_int(batch, "batch", low=2)
