"""Pictures drawn from a picture's activations: inversion, caricature, style transfer."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_choice, check_flag, check_number
from jaxlens.model import Model, check_model, rules
from jaxlens.optvis import objectives, param
from jaxlens.optvis.objectives._values import check_layer, layer_names
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.transform._pixel import LUMA
from jaxlens.recipes._inputs import canvas, one_task, picture_ids, pictures, seen

POOLS = ("max", "average", "l2")
SMOOTH = 1e-5  # weight of total variation beside a relative distance, which starts at about 1


def relative_L2(a: Any, b: Any) -> Any:
    """`|a - b|^2 / |b|^2`: 0 where they are equal, 1 for an image without any activation."""
    return jnp.square(a - b).sum() / jnp.maximum(jnp.square(b).sum(), 1e-12)


def invert(
    model: Any,
    images: Any,
    layer: Any,
    *,
    smooth: Any = SMOOTH,
    steps: Any = 512,
    optimizer: Any = None,
    **options: Any,
) -> RenderResult:
    """Pictures that a layer cannot tell from the given ones: what it keeps and what it forgets.

    Minimises `|A(x) - A(x0)|^2 / |A(x0)|^2 + smooth * total variation` from a grey start, in Fourier coefficients.
    Mahendran and Vedaldi 2015, arXiv:1412.0035, with their relative distance and another parameterization.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layer: whose activations are to be matched.
        smooth: weight of the total variation, which takes away what the layer does not see.
        steps, optimizer, options: of `render`.

    Returns: a RenderResult with a task per picture; scores are minus the distance, so they end near 0.
    """
    batch, fixed = pictures(model, images), options.get("fixed_image_size")
    layer, smooth = check_layer(layer), check_number(smooth, "smooth", low=0)
    targets = seen(model, batch, [model.resolve(layer)], fixed)[model.resolve(layer)]
    objective = -objectives.activation_difference(layer, relative_L2, difference_to={layer: _stacked(targets)})
    objective = objective - smooth * objectives.total_variation()
    own = canvas(model, options, batch.shape[1:3])
    options = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch)} | options
    return render(model, objective, param=own, steps=steps, optimizer=optimizer, **options)


def _stacked(targets: np.ndarray) -> np.ndarray:
    """Targets of N pictures as `[N, h, w, C]`."""
    if targets.ndim == 2:
        return targets[:, None, None]
    return targets if targets.ndim == 4 else targets[:, :, None]


def caricature(
    model: Any,
    images: Any,
    layers: Any,
    *,
    cossim_pow: Any = 1.0,
    steps: Any = 512,
    **options: Any,
) -> RenderResult:
    """Pictures that exaggerate what a layer sees in the given ones: activations along theirs, and as large as can be.

    Maximises `d * max(0.1, cosine) ** cossim_pow` with `d = <A(x), A(x0)>`, summed over layers, where both pictures go through
    the same random transforms. Lucid's caricatures, with a cosine that is one (see `objectives.dot_compare`).

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layers: one or several.
        cossim_pow: how much the direction counts beside the size.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; the drawn image is the only one of its task.
    """
    objective = objectives.Objective.sum([objectives.dot_compare(layer, 1, cossim_pow) for layer in layer_names(layers)])
    return _beside(model, objective, images, steps, options)


def _beside(model: Any, objective: Any, images: Any, steps: Any, options: dict[str, Any]) -> RenderResult:
    """A picture drawn next to each of the given ones, which are image number 1 of their tasks."""
    batch = pictures(model, images)
    inner = canvas(model, options, batch.shape[1:3])
    if isinstance(inner, Each) or inner.shape[0] != 1:
        raise ValueError("param must make one image, which is drawn for each picture: param.image(w, h).")
    params = param.each([param.beside(inner, each) for each in batch])
    options = {"ids": picture_ids(batch)} | options
    return render(model, objective, param=params, steps=steps, **options).first(1)


def attribution_caricature(
    model: Any,
    images: Any,
    objective: Any,
    layers: Any,
    *,
    pools: Any = "l2",
    steps: Any = 512,
    **options: Any,
) -> RenderResult:
    """Pictures that exaggerate what in the given ones speaks for an objective, and leave out the rest.

    Maximises `objectives.attribution_compare(layers, objective)`: activations of the first layer times the attribution of the
    given picture there, passed down from the objective through the layers. Both pictures go through the same transforms.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        objective: what is attributed, one objective or a string such as "logits:3".
        layers: one or several before it.
        pools: how the attribution passes max-pools, see `rules.standard`; "l2" as in Lucid's notebook. Networks without any
            on the way, or with some that cannot be seen as such, need "max", the true gradient.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; the drawn image is the only one of its task.
    """
    check_choice(pools, "pools", POOLS)
    rule = None if pools == "max" else rules.standard(pools=pools)
    goal = objectives.attribution_compare(layer_names(layers), one_task(model, objective), rule=rule)
    result = _beside(model, goal, images, steps, options)
    if result.scores.size and not result.scores.any():
        raise ValueError(f"objective={objective!r} got no attribution at layers={layers!r}: it must depend on them.")
    return result


def style_transfer(
    model: Any,
    content: Any,
    style: Any,
    *,
    content_layers: Any,
    style_layers: Any,
    content_weight: Any = 1.0,
    style_weight: Any = 1e3,
    smooth: Any = 0.0,
    preserve_color: Any = False,
    steps: Any = 512,
    optimizer: Any = None,
    start: Any = "content",
    **options: Any,
) -> RenderResult:
    """Pictures in the manner of others: activations of the first, Gram matrices of the second (Gatys et al. 2015).

    Minimises `content_weight * sum_l |A_l(x) - A_l(content)|^2 / |A_l(content)|^2 + style_weight * sum_l (the same of Gram
    matrices) / number of style layers`, plus `smooth` times the total variation. Both terms are relative, so that the
    weights mean the same for every network.

    Args:
        model: any Model.
        content, style: `[H, W, 3]` in [0, 1], of any sizes; or several, `[N, H, W, 3]`, which all go through one program: as
            many styles as contents, or one of either for all.
        content_layers, style_layers: names; a middle layer, and a few from the first to the middle, are usual.
        content_weight, style_weight: see above.
        smooth: weight of the total variation.
        preserve_color: keep the content's colours: the style is taken from its luminance (Gatys et al. 2016,
            arXiv:1606.05897), and only the luminance of the result is used.
        steps, options: of `render`.
        optimizer: Adam with rate 0.05 by default; `optax.lbfgs()` is the classic.
        start: "content" starts at the content picture, "noise" at grey noise.

    Returns: a RenderResult with a task per picture.
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
        options["param"] = param.each([canvas(model, {}, each.shape[:2], init=each) for each in batch])
    own = canvas(model, options, batch.shape[1:3])
    options = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch)} | options
    result = render(model, objective, param=own, steps=steps, optimizer=optimizer, **options)
    return result.map_images(lambda images: with_luminance(batch[:, None], images)) if preserve_color else result


def _targets(model: Model, images: np.ndarray, layers: Sequence[str], fixed: Any) -> dict[str, np.ndarray]:
    """Activations to compare with by the names given, `[N, h, w, C]`."""
    kept = {name: model.resolve(name) for name in layers}
    found = seen(model, images, list(kept.values()), fixed)
    return {name: _stacked(found[layer]) for name, layer in kept.items()}


def grey(images: np.ndarray) -> np.ndarray:
    """The luminance of pictures, as three equal channels."""
    luma = np.asarray(LUMA, np.float32)
    return np.repeat((images @ luma)[..., None], 3, axis=-1)


def with_luminance(pictures: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The colours of pictures with the luminance of others."""
    return np.clip(pictures + grey(images) - grey(pictures), 0, 1)
