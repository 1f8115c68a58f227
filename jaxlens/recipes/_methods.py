"""The same objective drawn with none of the tricks of the field, and with each."""

import zlib
from typing import Any, Unpack

import numpy as np

from jaxlens._checks import check_number
from jaxlens._types import Number, Size, Whole
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, evaluate, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import canvas, refuse_param, tasks_of


def compare_methods(
    model: ModelLike,
    objective: ObjectiveLike,
    *,
    size: Size = 128,
    steps: Whole = 512,
    smooth: Number = 0.5,
    blur: Number = 0.5,
    **options: Unpack[RenderOptions],
) -> dict[str, RenderResult]:
    """Render the same objectives with none of the field's tricks, with some, and with all.

    The methods are: pixels alone; pixels with penalties on total variation and on what
    `blur_input_each_step` takes away; pixels under random transforms; Fourier coefficients in
    decorrelated colors; and those under random transforms, which is what `render` does.

    Args:
        model: any Model.
        objective: as in `render`.
        size, steps: of the pictures.
        smooth, blur: what the penalty on total variation, and the one on blurring, would take from
            the score of the picture of pixels alone, as a fraction of that score. So they mean the
            same for every network; they are not weights as `smooth` is in other recipes.
        options: of `render`, for all methods; `transforms` where a method has any.

    Returns: `{name: RenderResult}` in that order; `plot.comparison(recipes.compare_methods(...))`
        shows them as a table.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import transform
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> found = recipes.compare_methods(
        ...     model, "conv1:3", size=(24, 32), steps=2, transforms=[transform.jitter(2)],
        ...     progress=False)
        >>> list(found)
        ['pixels', 'pixels, penalties', 'pixels, transforms', 'Fourier', 'Fourier, transforms']
    """
    refuse_param(options, "the methods are the parameterizations")
    smooth, blur = check_number(smooth, "smooth", low=0), check_number(blur, "blur", low=0)
    tasks, moving, fixed = tasks_of(model, objective), options.pop("transforms", None), options.get("fixed_image_size")
    pixels, fourier = canvas(model, None, size, fft=False, decorrelate=False), canvas(model, None, size)
    ids = [zlib.crc32(task.describe().encode()) for task in tasks]  # the same draws for every method

    def drawn(tasks: Any, how: Any, transforms: Any) -> RenderResult:
        given: dict[str, Any] = {"ids": ids, **options, "transforms": transforms}
        return render(model, tasks, steps=steps, param=how, **given)

    alone = drawn(tasks, pixels, [])
    penalties = (objectives.total_variation(), objectives.blur_input_each_step())
    reached = np.abs(evaluate(model, tasks, alone.images, fixed_image_size=fixed))
    paid = [evaluate(model, [penalty] * len(tasks), alone.images, fixed_image_size=fixed) for penalty in penalties]
    prices = [share * reached / np.maximum(cost, 1e-6) for share, cost in zip((smooth, blur), paid, strict=True)]
    penalized = [task - a * penalties[0] - b * penalties[1] for task, a, b in zip(tasks, *prices, strict=True)]
    return {
        "pixels": alone,
        "pixels, penalties": drawn(penalized, pixels, []),
        "pixels, transforms": drawn(tasks, pixels, moving),
        "Fourier": drawn(tasks, fourier, []),
        "Fourier, transforms": drawn(tasks, fourier, moving),
    }
