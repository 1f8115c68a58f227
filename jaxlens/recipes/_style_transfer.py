"""Style transfer: the content of one picture in the style of another."""

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from jaxlens._checks import check_choice, check_flag, check_number
from jaxlens._types import Flag, Images, Number, Whole
from jaxlens.model import Model, check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.objectives._difference import relative_L2
from jaxlens.optvis.objectives._values import layer_names
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.optvis.transform._pixel import LUMA
from jaxlens.recipes._inputs import canvas, picture_ids, pictures, seen, stacked


def style_transfer(
    model: ModelLike,
    content: Images,
    style: Images,
    *,
    content_layers: Any,
    style_layers: Any,
    content_weight: Number = 1.0,
    style_weight: Number = 1e3,
    smooth: Number = 0.0,
    preserve_color: Flag = False,
    steps: Whole = 512,
    start: Any = "content",
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render the content of pictures in the style of others.

    The content is the activations of the first, the style the Gram matrices of the second (Gatys et
    al. 2015). Minimizes the sum of

    - `content_weight * sum_l |A_l(x) - A_l(content)|^2 / |A_l(content)|^2`,
    - `style_weight / number of style layers` times the same sum of Gram matrices and the style,
    - `smooth` times the total variation.

    The first two are relative, so that their weights mean the same for every network.

    Args:
        model: any Model.
        content, style: `[H, W, 3]` in [0, 1], of any sizes; or several, `[N, H, W, 3]`, which all
            go through one program: as many styles as contents, or one of either for all.
        content_layers, style_layers: names; a middle layer, and a few from the first to the middle,
            are usual.
        content_weight, style_weight: see above.
        smooth: weight of the total variation (`objectives.total_variation`), 0 for none.
        preserve_color: keep the content's colors: the style is taken from its luminance (Gatys et
            al. 2016, arXiv:1606.05897), and only the luminance of the result is used.
        steps, options: of `render`. For `optimizer=`, `optax.lbfgs()` is the classic.
        start: "content" starts at the content picture, "noise" at gray noise.

    Returns: a RenderResult with a task per picture.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo, painting = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> result = recipes.style_transfer(
        ...     model, photo, painting, content_layers="conv2", style_layers=["conv1", "conv2"],
        ...     steps=2, progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    check_choice(start, "start", ("content", "noise"))
    weights = {"content_weight": content_weight, "style_weight": style_weight, "smooth": smooth}
    content_weight, style_weight, smooth = (check_number(value, name, low=0) for name, value in weights.items())
    if check_flag(preserve_color, "preserve_color") and check_model(model).channels != 3:
        raise ValueError(f"preserve_color=True needs colours, but {model.name} takes {model.channels} channel(s).")
    batch, manners = pictures(model, content, "content"), pictures(model, style, "style")
    if len(batch) != len(manners) and 1 not in (len(batch), len(manners)):
        raise ValueError(f"content holds {len(batch)} pictures and style {len(manners)}: give as many, or one of either.")
    count, fixed = max(len(batch), len(manners)), options.get("fixed_image_size")
    batch = np.broadcast_to(batch, (count, *batch.shape[1:]))
    shown = (grey(batch), grey(manners)) if preserve_color else (batch, manners)
    kept, manner = layer_names(content_layers, "content_layers"), layer_names(style_layers, "style_layers")
    content_loss = objectives.activation_difference(kept, relative_L2, None, _targets(model, shown[0], kept, fixed))
    style_loss = objectives.style(manner, _targets(model, shown[1], manner, fixed), relative_L2)
    objective = -content_weight * content_loss - (style_weight / len(manner)) * style_loss
    if smooth:
        objective = objective - smooth * objectives.total_variation()
    if start == "content" and "param" not in options:
        options["param"] = param.each([canvas(model, None, each.shape[:2], init=each) for each in batch])
    own = canvas(model, options.pop("param", None), batch.shape[1:3])
    given: dict[str, Any] = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch), **options}
    result = render(model, objective, param=own, steps=steps, **given)
    return result.map_images(lambda images: with_luminance(batch[:, None], images)) if preserve_color else result


def _targets(model: Model, images: np.ndarray, layers: Sequence[str], fixed: Any) -> dict[str, np.ndarray]:
    """Return the activations to compare with, `[N, h, w, C]`, by the names given."""
    kept = {name: model.resolve(name) for name in layers}
    found = seen(model, images, list(kept.values()), fixed)
    return {name: stacked(found[layer]) for name, layer in kept.items()}


def grey(images: np.ndarray) -> np.ndarray:
    """Return the luminance of pictures as three equal channels."""
    luma = np.asarray(LUMA, np.float32)
    return np.repeat((images @ luma)[..., None], 3, axis=-1)


def with_luminance(pictures: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the colors of pictures with the luminance of others."""
    return np.clip(pictures + grey(images) - grey(pictures), 0, 1)
