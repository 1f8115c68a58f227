"""Feature accentuation: a given picture with more of what an objective asks for."""

from typing import Any, Unpack

import numpy as np

from jaxlens._checks import check_flag, check_number
from jaxlens._types import Flag, Images, Number, Text, Whole
from jaxlens.optvis import objectives, param
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._gradient_sizes import gradient_sizes
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import one_task, picture_ids, pictures, refuse_param
from jaxlens.recipes._objectives import BeyondRounding, OnlyFirst


def accentuate(
    model: ModelLike,
    images: Images,
    objective: ObjectiveLike,
    *,
    layer: Text | None = None,
    strength: Number = 1.0,
    keep_magnitude: Flag = False,
    steps: Whole = 100,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render the given pictures with more of what an objective asks for: feature accentuation.

    Maximizes `objective - strength * balance * distance`, so the pictures stay close to what they
    were. The distance is the one between the picture and the original in the activations of
    `layer`: over channels, mean over positions, under the same transforms.
    `balance = sum |d objective / d theta| / sum |d distance / d theta|` makes a strength mean the
    same for every network, objective and layer. It is measured once for each picture, near its
    start: at the original itself the distance has no gradient.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        objective: one objective, as in `render`.
        layer: where the picture should stay what it is. None stays close in pixels instead, by the
            root of the mean squared difference. (Horama has the mean square there, and no balance.)
        strength: 1 pulls back as much as the objective pulls away; less accentuates more.
        keep_magnitude: leave the picture's Fourier magnitudes, mean and contrast as they are and
            change the phases only, as faccent does. By default all coefficients are free.
        steps, options: of `render`. `importance=True` gives the map of what was changed for the
            score; it includes the distance's part, as Horama's does. faccent shows 16 random crops
            a step: `draws=16, transforms=[transform.random_boxes(1, 224, (0.05, 0.99), None)]`.

    Returns: a RenderResult with a task per picture.

    Hamblin et al. 2024, arXiv:2402.10039 (faccent).

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.accentuate(
        ...     model, photo, "conv3:1", layer="conv2", steps=2, transforms=[], progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    refuse_param(options, "accentuation starts at the pictures; see `keep_magnitude`")
    strength, keep_magnitude = check_number(strength, "strength", low=0), check_flag(keep_magnitude, "keep_magnitude")
    batch, fixed = pictures(model, images), options.get("fixed_image_size")
    drawn = OnlyFirst(inner=one_task(model, objective))
    near = objectives.activation_difference("input", objectives.mean_L2, difference_to=1)
    distance = near if layer is None else objectives.l2_compare(layer)
    kept = BeyondRounding(inner=distance, layer=layer or "input").bind(model)
    channels = None if model.channels == 3 else model.channels
    starts = [param.fourier_phase(init=x) if keep_magnitude else param.image(init=x, channels=channels) for x in batch]
    params = param.each([param.beside(start, each) for start, each in zip(starts, batch, strict=True)])
    pulls = [gradient_sizes(model, each, params, fixed) for each in (drawn, kept)]
    weight = strength * pulls[0] / np.maximum(pulls[1], 1e-20)
    given: dict[str, Any] = {"ids": picture_ids(batch), **options}
    return render(model, drawn - weight * kept, param=params, steps=steps, **given).first(1)
