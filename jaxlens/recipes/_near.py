"""Pictures close to given ones, or to what natural pictures are like: accentuation, adversarial examples, MACO."""

from typing import Any

import numpy as np
import optax

from jaxlens._checks import check_flag, check_int, check_number, check_size
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._arguments import STEPS, check_count
from jaxlens.recipes._inputs import (
    BeyondRounding,
    OnlyFirst,
    gradient_sizes,
    one_task,
    picture_ids,
    pictures,
    refuse_param,
)

NADAM = optax.nadam(1.0)
SPREAD = 0.1  # of the sides of MACO's boxes, relative to their mean


def maco(
    model: Any,
    objective: Any,
    *,
    size: Any = 512,
    steps: Any = 256,
    crops: Any = 16,
    box: Any = (0.5, 0.05),
    noise: Any = (0.08, 0.04),
    magnitude: Any = None,
    **options: Any,
) -> RenderResult:
    """Pictures with the Fourier magnitudes of natural images, of which only the phases are optimized.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the picture.
        steps: number of updates.
        crops: parts of the picture that the network sees in each step; the score is their mean. (xplique takes 32.)
        box: the sides of the parts at the first step and at the last, as fractions of the picture's; each part's is within a
            tenth of it.
        noise: deviation and half width of normal and uniform noise on them.
        magnitude: of `param.maco`.
        options: of `render`; `transparency=True` for the map of where the objective looked (`plot.maco_display`).

    Fel et al. 2023, arXiv:2306.06805, with xplique's settings: Nadam with rate 1, boxes around the middle with deviation 0.15.
    """
    height, width, crops = *check_size(size, "size"), check_int(crops, "crops", low=1)
    refuse_param(options, "MACO is one; give `size` and `magnitude`")
    model = check_model(model)
    shown = (model.input_size[0], model.input_size[1])
    steps = check_count(steps, "steps", low=0, most=STEPS)
    moves = [_boxes(shown, box, steps), transform.noise(*_pair(noise, "noise"))]
    options = {"optimizer": NADAM, "transforms": moves, "fixed_image_size": shown, "draws": crops} | options
    return render(model, objective, param=param.maco(width, height, magnitude=magnitude), steps=steps, **options)


def _boxes(size: tuple[int, int], box: Any, steps: int) -> transform.Transform:
    """A random part of a picture, whose side goes from the first of `box` to the second."""
    box = _pair(box, "box")
    if not all(0 < side <= 1 for side in box):
        raise ValueError(f"box={box} must be two fractions of the picture, such as (0.5, 0.05).")
    first, last = (transform.random_boxes(1, size, (side * (1 - SPREAD), min(1.0, side * (1 + SPREAD)))) for side in box)
    return transform.anneal(first, last, max(1, steps))


def _pair(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name}={value!r} must be two numbers.")
    return check_number(value[0], name), check_number(value[1], name)


def accentuate(
    model: Any,
    images: Any,
    objective: Any,
    *,
    layer: Any = None,
    strength: Any = 1.0,
    keep_magnitude: Any = False,
    steps: Any = 100,
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
        layer: where the picture should stay what it is; None stays close in pixels instead, by the root of the mean squared
            difference. (Horama has the mean square there, and no balance.)
        strength: 1 pulls back as much as the objective pulls away; less accentuates more.
        keep_magnitude: leave the picture's Fourier magnitudes, mean and contrast as they are and change phases only, as faccent
            does; otherwise all coefficients are free.
        steps, options: of `render`. `transparency=True` gives the map of what was changed for the score; it includes the
            distance's part, as Horama's does. faccent shows 16 random crops a step: `draws=16, transforms=[
            transform.random_boxes(1, 224, (0.05, 0.99), None)]`.

    Hamblin et al. 2024, arXiv:2402.10039 (faccent).
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
    options = {"ids": picture_ids(batch)} | options
    return render(model, drawn - weight * kept, param=params, steps=steps, **options).first(1)


def adversarial(
    model: Any,
    images: Any,
    label: Any,
    *,
    layer: Any = "logits",
    radius: Any = 8 / 255,
    norm: Any = "Linf",
    steps: Any = 50,
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
    refuse_param(options, "the pictures and the radius make it; see `param.ball`")
    batch = pictures(model, images)
    options = {"transforms": [], "redirect_steps": 0, "ids": picture_ids(batch)} | options
    balls = param.each([param.ball(each, radius, norm) for each in batch])
    return render(model, objectives.class_logit(layer, label), param=balls, steps=steps, **options)
