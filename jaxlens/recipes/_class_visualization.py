"""What a class looks like to a network."""

from typing import Any, Unpack

from jaxlens._checks import check_number
from jaxlens._types import Number, Size, Text, Whole
from jaxlens.model import check_model
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._inputs import canvas, merged
from jaxlens.recipes._objectives import contrast, roughness


def class_visualization(
    model: ModelLike,
    label: Any,
    *,
    layer: Text = "logits",
    size: Size | None = None,
    steps: Whole = 512,
    smooth: Number = 0.0,
    shrink: Number = 0.0,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render what a class looks like to a network: pictures that raise its logit.

    Maximizes `logit - smooth * (mean |dx| + mean |dy|) - shrink * mean (x - 0.5)**2`. Simonyan et
    al. 2014, arXiv:1312.6034.

    Args:
        model: any Model.
        label: a class number, a name in `model.labels`, or a list of these; each is a task.
        layer: the layer of the logits; not their softmax, which also rises as other classes fall.
        size: of the pictures; by default what the network was trained on.
        steps: number of updates.
        smooth: weight of the mean absolute difference of neighboring pixels, 0 for none.
        shrink: weight of the mean squared distance from gray, 0 for none. The parameterization and
            the transforms make both penalties dispensable.
        options: of `render`.

    Returns: a RenderResult with a task per class.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.class_visualization(
        ...     model, [3, 5], steps=2, transforms=[], progress=False)
        >>> result.names, result.images.shape
        (('logits:3', 'logits:5'), (2, 1, 24, 32, 3))
    """
    objective = objectives.class_logit(layer, label)
    model = check_model(model)
    for weight, name, penalty in ((smooth, "smooth", roughness), (shrink, "shrink", contrast)):
        if weight := check_number(weight, name, low=0):
            objective = objective - weight * objectives.as_objective(penalty)
    own = canvas(model, options.pop("param", None), tuple(model.input_size) if size is None else size)
    return render(model, objective, steps=steps, **merged(options, param=own))
