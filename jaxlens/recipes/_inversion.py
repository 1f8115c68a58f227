"""Inversion: pictures that a layer cannot tell from the given ones."""

from typing import Any, Unpack

from jaxlens._checks import check_number
from jaxlens._types import Images, Number, Text, Whole
from jaxlens.optvis import objectives
from jaxlens.optvis.objectives._difference import relative_L2
from jaxlens.optvis.objectives._values import check_layer
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._inputs import canvas, picture_ids, pictures, seen, stacked

SMOOTH = 1e-5  # weight of total variation beside a relative distance, which starts at about 1


def invert(
    model: ModelLike,
    images: Images,
    layer: Text,
    *,
    smooth: Number = SMOOTH,
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Pictures that a layer cannot tell from the given ones: what it keeps and what it forgets.

    Minimises `|A(x) - A(x0)|^2 / |A(x0)|^2 + smooth * total variation` from a grey start, in Fourier coefficients.
    Mahendran and Vedaldi 2015, arXiv:1412.0035, with their relative distance and another parameterization.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layer: whose activations are to be matched.
        smooth: weight of the total variation, which takes away what the layer does not see.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; scores are minus the distance, so they end near 0.
    """
    batch, fixed = pictures(model, images), options.get("fixed_image_size")
    layer, smooth = check_layer(layer), check_number(smooth, "smooth", low=0)
    targets = seen(model, batch, [model.resolve(layer)], fixed)[model.resolve(layer)]
    objective = -objectives.activation_difference(layer, relative_L2, difference_to={layer: stacked(targets)})
    objective = objective - smooth * objectives.total_variation()
    own = canvas(model, options.pop("param", None), batch.shape[1:3])
    given: dict[str, Any] = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch), **options}
    return render(model, objective, param=own, steps=steps, **given)
