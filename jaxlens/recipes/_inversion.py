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
    """Render pictures that a layer cannot tell from the given ones.

    They show what the layer keeps and what it forgets. Minimizes
    `|A(x) - A(x0)|^2 / |A(x0)|^2 + smooth * total variation` from a gray start, in Fourier
    coefficients. Mahendran and Vedaldi 2015, arXiv:1412.0035, with their relative distance and
    another parameterization.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layer: whose activations are to be matched.
        smooth: weight of the total variation (`objectives.total_variation`), which removes what the
            layer does not see. The relative distance beside it starts at about 1.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; scores are minus the distance, so they end near
        0.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.invert(model, photo, "conv2", steps=2, progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    batch, fixed = pictures(model, images), options.get("fixed_image_size")
    layer, smooth = check_layer(layer), check_number(smooth, "smooth", low=0)
    targets = seen(model, batch, [model.resolve(layer)], fixed)[model.resolve(layer)]
    objective = -objectives.activation_difference(layer, relative_L2, difference_to={layer: stacked(targets)})
    objective = objective - smooth * objectives.total_variation()
    own = canvas(model, options.pop("param", None), batch.shape[1:3])
    given: dict[str, Any] = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch), **options}
    return render(model, objective, param=own, steps=steps, **given)
