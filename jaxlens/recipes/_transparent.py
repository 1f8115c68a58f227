"""Pictures with opacity, without a background."""

from typing import Unpack

from jaxlens._checks import as_size, check_number
from jaxlens._types import Number, Size, Whole
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import merged, tasks_of


def transparent(
    model: ModelLike,
    objective: ObjectiveLike,
    *,
    size: Size = 128,
    steps: Whole = 512,
    blur: Number = 0.1,
    weight: Number = 1.0,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures with opacity, opaque only where the objective needs it.

    Maximizes `objective * (1 - weight * mean opacity) - blur * blur_alpha_each_step`, in front of
    random backgrounds. It is meant for objectives that are positive. Lucid has it as
    recipes.feature_visualization with `alpha=True`.

    Args:
        model: any Model.
        objective: as in `render`.
        size, steps: of the pictures.
        blur: how smooth the opacity is.
        weight: how much opacity costs, at most 1.
        options: of `render`; `transforms` follow the one that puts the pictures in front of a
            background.

    Returns: a RenderResult whose images have four channels; `data.save_image("x.png", ...)` keeps
        the opacity.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.transparent(
        ...     model, "conv2:3", size=(24, 32), steps=2, transforms=[], progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 4)
    """
    weight, blur = check_number(weight, "weight"), check_number(blur, "blur", low=0)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight:g} must be in [0, 1]: above, an opaque picture would count against the objective.")
    if check_model(model).channels != 3:
        raise ValueError(f"{model.name} takes {model.channels} channels: opacity is for colours.")
    own = options.pop("param", None)
    if own is None:
        height, width = as_size(size, "size")
        own = param.image(width, height, alpha=True)
    opacity = objectives.channel("input", 3)
    tasks = tasks_of(model, objective)
    terms = [task * (1 - weight * opacity) - blur * objectives.blur_alpha_each_step() for task in tasks]
    moves = options.pop("transforms", None)
    moves = [transform.collapse_alpha_random(), *(transform.standard_transforms if moves is None else moves)]
    return render(model, terms, steps=steps, **merged(options, param=own, transforms=moves))
