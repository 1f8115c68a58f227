"""MACO: pictures with the Fourier magnitudes of natural images."""

from typing import Any, Unpack

import optax

from jaxlens._checks import as_size, check_int, check_number
from jaxlens._types import Size, Whole
from jaxlens.model import check_model
from jaxlens.optvis import param, transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._arguments import STEPS, check_count
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import refuse_param

NADAM = optax.nadam(1.0)
SPREAD = 0.1  # how much the sides of MACO's boxes differ from their mean, as a fraction of it


def maco(
    model: ModelLike,
    objective: ObjectiveLike,
    *,
    size: Size = 512,
    steps: Whole = 256,
    crops: Whole = 16,
    box: Any = (0.5, 0.05),
    noise: Any = (0.08, 0.04),
    magnitude: Any = None,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures with the Fourier magnitudes of natural images; only the phases are optimized.

    Fel et al. 2023, arXiv:2306.06805, with xplique's settings: Nadam with rate 1, boxes around the
    middle with deviation 0.15.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the picture.
        steps: number of updates.
        crops: parts of the picture that the network sees in each step; the score is their mean.
            (xplique takes 32.)
        box: the sides of the parts at the first step and at the last, as fractions of the
            picture's; each part's side is within a tenth of it.
        noise: deviation of the normal noise and half width of the uniform noise on the parts.
        magnitude: of `param.maco`.
        options: of `render`; `importance=True` gives the map of where the objective looked
            (`plot.maco_display`).

    Returns: a RenderResult with a task per objective.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.maco(
        ...     model, "conv2:3", size=(24, 32), steps=2, crops=2, progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    height, width, crops = *as_size(size, "size"), check_int(crops, "crops", low=1)
    refuse_param(options, "MACO is one; give `size` and `magnitude`")
    model = check_model(model)
    shown = (model.input_size[0], model.input_size[1])
    steps = check_count(steps, "steps", low=0, most=STEPS)
    moves = [_boxes(shown, box, steps), transform.noise(*_pair(noise, "noise"))]
    given: dict[str, Any] = {"optimizer": NADAM, "transforms": moves, "fixed_image_size": shown, "draws": crops, **options}
    return render(model, objective, param=param.maco(width, height, magnitude=magnitude), steps=steps, **given)


def _boxes(size: tuple[int, int], box: Any, steps: int) -> transform.Transform:
    """Return a transform to a random part of a picture; its side goes from `box[0]` to `box[1]`."""
    box = _pair(box, "box")
    if not all(0 < side <= 1 for side in box):
        raise ValueError(f"box={box} must be two fractions of the picture, such as (0.5, 0.05).")
    first, last = (transform.random_boxes(1, size, (side * (1 - SPREAD), min(1.0, side * (1 + SPREAD)))) for side in box)
    return transform.anneal(first, last, max(1, steps))


def _pair(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name}={value!r} must be two numbers.")
    return check_number(value[0], name), check_number(value[1], name)
