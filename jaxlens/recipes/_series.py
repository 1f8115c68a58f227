"""Several pictures of one thing, or one picture of several: diversity, interpolation, interaction, both signs, accentuation."""

from typing import Any

import numpy as np
import optax

from jaxlens._checks import check_int
from jaxlens.model import Model
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.recipes._inputs import gradient_sizes, only_first, pictures


def diversity(
    model: Model, objective: Any, layer: str, *, batch: int = 4, weight: float = 1e2, size: Any = 128, **options: Any
) -> RenderResult:
    """Several pictures of the same objective that are as different as they can be: the facets of a neuron.

    Args:
        model: any Model.
        objective: as in `render`; each of its tasks gets `batch` pictures.
        layer: where they should differ, in Gram matrices (`objectives.diversity`); Lucid takes the neuron's own.
        batch: how many pictures.
        weight: of the diversity.
        size, options: of `render`.
    """
    _check_several(batch)
    items = objectives.as_objective(objective, model)
    items = items if isinstance(items, list) else [items]
    terms = [item - weight * objectives.diversity(layer) for item in items]
    height, width = (size, size) if not isinstance(size, tuple | list) else size
    return render(model, terms, param=param.image(width, height, batch), **options)


def interpolate(
    model: Model,
    first: tuple[str, int],
    second: tuple[str, int],
    *,
    batch: int = 6,
    weight: float = 0.1,
    size: Any = 128,
    **options: Any,
) -> RenderResult:
    """Pictures on the way from one channel to another, which share their coarse structure.

    Args:
        model: any Model.
        first, second: layer and channel.
        batch: how many pictures, both ends included.
        weight: of the alignment of neighbours in the first one's layer (decay 5, as in Lucid's notebook).
        size, options: of `render`.
    """
    _check_several(batch)
    objective = objectives.channel_interpolate(*first, *second)
    if weight:
        objective = objective + weight * objectives.alignment(first[0], 5.0)
    height, width = (size, size) if not isinstance(size, tuple | list) else size
    return render(model, objective, param=param.aligned(width, height, batch), **options)


def interactions(model: Model, rows: Any, columns: Any, **options: Any) -> RenderResult:
    """Every sum of two neurons, one of each group: a grid of how they go together.

    Args:
        model: any Model.
        rows, columns: objectives, strings or lists, as in `render`.
        options: of `render`.

    Returns: a RenderResult with a task per pair, row by row: `plot.contact_sheet(result.images, result.names, columns=n)`.
    """
    groups = [objectives.as_objective(group, model) for group in (rows, columns)]
    return render(model, objectives.combine(*groups), **options)


def both_signs(model: Model, objective: Any, **options: Any) -> RenderResult:
    """What raises objectives and what lowers them, in turn: each task is followed by its negative.

    Negative neurons show what suppresses a channel; look at layers before their ReLU, where that is not flat.
    """
    tasks = objectives.combine(objectives.as_objective(objective, model))
    return render(model, [sign for task in tasks for sign in (task, -task)], **options)


def maco(
    model: Model,
    objective: Any,
    *,
    size: Any = 512,
    steps: int = 256,
    crops: int = 16,
    box: tuple[float, float] = (0.05, 0.5),
    noise: tuple[float, float] = (0.08, 0.04),
    magnitude: Any = None,
    **options: Any,
) -> RenderResult:
    """Pictures with the Fourier magnitudes of natural images, of which only the phases are optimized.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the picture.
        steps: number of updates.
        crops: parts of the picture that the network sees in each step; the score is their mean.
        box: the interval of their sides, as fractions of the picture's.
        noise: deviation and half width of normal and uniform noise on them.
        magnitude: of `param.maco`.
        options: of `render`.

    Fel et al. 2023, arXiv:2306.06805: Nadam with rate 1. xplique lets the crops shrink from 0.5 to 0.05 over the steps; here
    they have all sizes in all steps.
    """
    height, width = (size, size) if not isinstance(size, tuple | list) else size
    side = tuple(model.input_size)
    moves = [transform.random_boxes(crops, (side[0], side[1]), box), transform.noise(*noise)]
    options = {"optimizer": NADAM, "transforms": moves, "fixed_image_size": side} | options
    return render(model, objective, param=param.maco(width, height, magnitude=magnitude), steps=steps, **options)


NADAM = optax.nadam(1.0)


def accentuate(
    model: Model,
    images: Any,
    objective: Any,
    *,
    layer: str | None = None,
    strength: float = 1.0,
    steps: int = 100,
    **options: Any,
) -> RenderResult:
    """The given pictures with more of what an objective asks for, close to what they were: feature accentuation.

    Maximises `objective - strength * balance * distance`. The distance is that of activations in `layer` over channels, mean
    over positions, between the picture and the original under the same transforms. `balance = sum |d objective / d theta| /
    sum |d distance / d theta|`, measured once for each picture near its start (at the original itself the distance has no
    gradient), so that a strength means the same for every network, objective and layer.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        objective: one objective, as in `render`.
        layer: where the picture should stay what it is; None stays close in pixels instead.
        strength: 1 pulls back as much as the objective pulls away; less accentuates more.
        steps, options: of `render`.

    Hamblin et al. 2024, arXiv:2402.10039 (faccent), with all Fourier coefficients free, where faccent keeps magnitudes.
    """
    batch = pictures(images)
    target = objectives.as_objective(objective, model)
    if isinstance(target, list):
        raise ValueError("objective is a list: accentuate one objective at a time.")
    drawn = only_first(target).bind(model)
    near = objectives.activation_difference("input", objectives.mean_L2, difference_to=1)
    kept = (near if layer is None else objectives.l2_compare(layer)).bind(model)
    params = param.each([param.beside(param.image(init=each), each) for each in batch])
    noisy = param.each([param.beside(param.image(init=each, sd=0.01), each) for each in batch])
    pulls = [gradient_sizes(model, each, noisy) for each in (drawn, kept)]
    weight = strength * pulls[0] / np.maximum(pulls[1], 1e-20)
    return render(model, drawn - weight * kept, param=params, steps=steps, **options).first(1)


def adversarial(
    model: Model,
    images: Any,
    label: Any,
    *,
    layer: str = "logits",
    radius: float = 8 / 255,
    norm: str = "Linf",
    steps: int = 50,
    **options: Any,
) -> RenderResult:
    """Pictures within a small distance of the given ones that raise a class: adversarial examples.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        label: a class number or a name in `model.labels`.
        layer: its logits.
        radius, norm: of `param.ball`.
        steps, options: of `render`.

    An attack in the sense of Madry et al. 2018, arXiv:1706.06083, with Adam inside the ball; no transforms unless given.
    """
    batch = pictures(images)
    options = {"transforms": [], "redirect_steps": 0} | options
    balls = param.each([param.ball(each, float(radius), norm) for each in batch])
    return render(model, objectives.class_logit(layer, label), param=balls, steps=steps, **options)


def evolution(result: RenderResult, task: int = 0) -> tuple[np.ndarray, list[str]]:
    """The snapshots of one task in order, and their names: `plot.contact_sheet(*recipes.evolution(result))`.

    Args:
        result: of a `render(..., thresholds=(1, 32, 128, 512))`.
        task: which of its tasks.
    """
    if not result.snapshots:
        raise ValueError("result has no snapshots: render with thresholds=(1, 32, 128, 512).")
    steps = sorted(result.snapshots)
    return np.stack([result.snapshots[step][task, 0] for step in steps]), [f"step {step}" for step in steps]


def _check_several(batch: int) -> None:
    check_int(batch, "batch", low=2)
