"""Adversarial examples: a small change that raises a class."""

from typing import Any, Unpack

from jaxlens._types import Images, Number, Text, Whole
from jaxlens.optvis import objectives, param
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._inputs import picture_ids, pictures, refuse_param


def adversarial(
    model: ModelLike,
    images: Images,
    label: Any,
    *,
    layer: Text = "logits",
    radius: Number = 8 / 255,
    norm: Any = "Linf",
    steps: Whole = 50,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render adversarial examples: pictures close to the given ones that raise a class.

    An attack in the sense of Madry et al. 2018, arXiv:1706.06083, with Adam inside the ball. There
    are no transforms unless given.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        label: a class number or a name in `model.labels`.
        layer: the layer of the logits.
        radius, norm: of `param.ball`.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.adversarial(model, photo, 3, radius=0.1, steps=2, progress=False)
        >>> bool(abs(result.images[0, 0] - photo).max() < 0.1 + 1e-6)
        True
    """
    refuse_param(options, "the pictures and the radius make it; see `param.ball`")
    batch = pictures(model, images)
    given: dict[str, Any] = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch), **options}
    balls = param.each([param.ball(each, radius, norm) for each in batch])
    return render(model, objectives.class_logit(layer, label), param=balls, steps=steps, **given)
