"""Caricatures: pictures that exaggerate what a layer or an objective sees in a given one."""

from typing import Any, Unpack

from jaxlens._checks import check_choice
from jaxlens._types import Images, Number, Whole
from jaxlens.model import rules
from jaxlens.optvis import objectives, param
from jaxlens.optvis.objectives._values import layer_names
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import canvas, one_task, picture_ids, pictures

POOLS = ("max", "average", "l2")


def caricature(
    model: ModelLike,
    images: Images,
    layers: Any,
    *,
    cossim_pow: Number = 1.0,
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures that exaggerate what a layer sees in the given ones.

    Their activations point along those of the given pictures and are as large as possible.
    Maximizes `d * max(0.1, cosine) ** cossim_pow` with `d = <A(x), A(x0)>`, summed over layers;
    both pictures go through the same random transforms. These are Lucid's caricatures, with a true
    cosine (see `objectives.dot_compare`).

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layers: one or several.
        cossim_pow: how much the direction counts beside the size.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; the drawn image is the only one of its task.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.caricature(
        ...     model, photo, "conv2", steps=2, transforms=[], progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    objective = objectives.Objective.sum([objectives.dot_compare(layer, 1, cossim_pow) for layer in layer_names(layers)])
    return _beside(model, objective, images, steps, options)


def _beside(model: Any, objective: Any, images: Any, steps: Any, options: RenderOptions) -> RenderResult:
    """Render a picture next to each of the given ones, which are image number 1 of their tasks."""
    batch = pictures(model, images)
    inner = canvas(model, options.pop("param", None), batch.shape[1:3])
    if isinstance(inner, Each) or inner.shape[0] != 1:
        raise ValueError("param must make one image, which is drawn for each picture: param.image(w, h).")
    params = param.each([param.beside(inner, each) for each in batch])
    given: dict[str, Any] = {"ids": picture_ids(batch), **options}
    return render(model, objective, param=params, steps=steps, **given).first(1)


def attribution_caricature(
    model: ModelLike,
    images: Images,
    objective: ObjectiveLike,
    layers: Any,
    *,
    pools: Any = "l2",
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures that exaggerate what speaks for an objective in the given ones.

    They leave out the rest. Maximizes `objectives.attribution_compare(layers, objective)`: the
    activations of the first layer times the attribution of the given picture there, which is passed
    down from the objective through the layers. Both pictures go through the same transforms.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        objective: what is attributed, one objective or a string such as "logits:3".
        layers: one or several before it.
        pools: how the attribution passes max-pools, see `rules.standard`; "l2" as in Lucid's
            notebook. "max", the true gradient, is needed where a network has no max-pools on the
            way, or some that cannot be recognized as such.
        steps, options: of `render`.

    Returns: a RenderResult with a task per picture; the drawn image is the only one of its task.

    Raises:
        ValueError: if the objective does not depend on the layers.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.attribution_caricature(
        ...     model, photo, "logits:3", "conv2", steps=2, transforms=[], progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    check_choice(pools, "pools", POOLS)
    rule = None if pools == "max" else rules.standard(pools=pools)
    goal = objectives.attribution_compare(layer_names(layers), one_task(model, objective), gradient_rule=rule)
    result = _beside(model, goal, images, steps, options)
    if result.scores.size and not result.scores.any():
        raise ValueError(f"objective={objective!r} got no attribution at layers={layers!r}: it must depend on them.")
    return result
