"""Deep dreams: pictures with more and more of what a network sees in them."""

import functools
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlens._checks import check_int, check_number
from jaxlens._interrupt import deferred_interrupt
from jaxlens._progress import Bar, progress_bar
from jaxlens._types import Images, Number, Whole
from jaxlens.model import Model, activations
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.objectives._values import layer_names
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._arguments import STEPS, check_count
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._inputs import one_task, picture_ids, pictures, refuse_param


@functools.cache  # one optimizer, one program
def gradient_ascent(rate: float) -> optax.GradientTransformation:
    """Return an optimizer whose steps are `rate` times the gradient over its mean absolute value.

    The division makes layers and octaves comparable. The mean is over what has a gradient at all:
    of a tiled picture, the part that the network saw.
    """

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        def step(g: jax.Array) -> jax.Array:
            return -rate * g * jnp.maximum(1, (g != 0).sum()) / (jnp.abs(g).sum() + 1e-12)

        return jax.tree.map(step, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def deepdream(
    model: ModelLike,
    images: Images,
    layers: Any,
    *,
    octaves: Whole = 4,
    octave_scale: Number = 1.4,
    steps: Whole = 10,
    rate: Number = 0.01,
    jitter: Whole = 32,
    guide: Images | None = None,
    tile: Whole | None = None,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures with more of everything that layers see in them, from coarse to fine.

    Gradient ascent on the mean squared activation of the layers, at several sizes ("octaves") from
    small to large. Each octave starts with the picture at that size plus what the octave before has
    added. Mordvintsev et al. 2015.

    Args:
        model: any Model.
        images: `[H, W, 3]` or `[N, H, W, 3]` in [0, 1]; all go through one program.
        layers: one or several, or an objective of one task instead, such as
            `objectives.channel("mixed4a", 3)`.
        octaves: how many sizes; the last is the picture's own.
        octave_scale: ratio of one size to the one before.
        steps: steps of gradient ascent at each size.
        rate: how much a pixel changes per step, on average.
        jitter: pixels by which the picture is moved at random in each step, so that no seams stay.
        guide: a picture `[H, W, 3]` whose features the dream should take up (`objectives.guide`),
            instead of its own.
        tile: for large pictures: side of a random part that the network sees in each step, which
            bounds the memory. The number of steps is multiplied by the number of parts that cover
            the picture.
        options: of `render`, but no `param`. `transforms` replace the movements of `jitter` and
            `tile`, `optimizer` replaces the ascent at `rate`.

    Returns: the RenderResult of the last octave, with a task per picture. No octave is resized for
        the network, unless it takes one size only.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> result = recipes.deepdream(
        ...     model, photo, "conv2", octaves=2, steps=2, jitter=2, progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    refuse_param(options, "the picture's own pixels are dreamt on")
    batch = pictures(model, images)
    jitter = check_int(jitter, "jitter", low=0)
    rate = check_number(rate, "rate", above=0)
    octaves, steps = check_int(octaves, "octaves", low=1, high=100), check_count(steps, "steps", low=1, most=STEPS)
    octave_scale = check_number(octave_scale, "octave_scale", above=1, high=10)
    tile = None if tile is None else check_int(tile, "tile", low=1)
    objective = _objective(model, layers, guide)
    given: dict[str, Any] = {"optimizer": gradient_ascent(rate), "redirect_steps": 0, "ids": picture_ids(batch), **options}
    progress, sizes = given.pop("progress", True), []
    for octave in reversed(range(octaves)):
        h, w = (max(1, round(n / octave_scale**octave)) for n in batch.shape[1:3])
        side = (min(tile, h), min(tile, w)) if tile is not None and tile < max(h, w) else (h, w)
        sizes.append(((h, w), side, steps * -(-h // side[0]) * -(-w // side[1])))
    total = len(batch) * sum(count for _, _, count in sizes)
    with deferred_interrupt(), progress_bar(total, "step", progress) as bar:
        return _octaves(model, batch, objective, sizes, bar, jitter, given)


def _octaves(
    model: Model, batch: Any, objective: Any, sizes: Any, bar: Bar, jitter: int, given: dict[str, Any]
) -> RenderResult:
    """Dream at one size after the other; after Ctrl-C, return what there is.

    `sizes` holds `(size, the part of it that the network sees, steps)`.
    """
    added, result = np.zeros_like(batch), None
    for (h, w), side, count in sizes:
        base, before = _resized(batch, h, w), _resized(added, h, w)
        moves: list[Any] = [transform.pad(jitter), transform.jitter(2 * jitter)] if 0 < jitter < min(h, w) else []
        if side != (h, w):
            moves = [
                transform.roll(),
                transform.random_crop(*side),
            ]  # across the borders: the network sees all parts equally often
        result = render(
            model,
            objective,
            param=param.each([_pixels(each) for each in np.clip(base + before, 0, 1)]),
            steps=count,
            progress=bar,
            **{"transforms": moves, "fixed_image_size": None if model.fixed_size else side} | given,
        )
        added = result.images[:, 0] - base
        if not result.finished:
            break
    assert result is not None  # there is at least one octave
    h, w = batch.shape[1:3]
    if result.images.shape[2:4] == (h, w):
        return result
    return result.map_images(
        lambda _: np.clip(batch + _resized(added, h, w), 0, 1)[:, None]
    )  # interrupted before the last octave


def _objective(model: Model, layers: Any, guide: Any) -> Any:
    if isinstance(layers, objectives.Objective):
        one_task(model, layers, "layers")
        if guide is not None:
            raise ValueError("guide and an objective exclude each other: name layers instead of the objective.")
        return layers
    found = layer_names(layers)
    if guide is None:
        return objectives.Objective.sum([objectives.deepdream(layer) for layer in found])
    kept = [model.resolve(layer) for layer in found]
    theirs = activations(model, jnp.asarray(pictures(model, guide, "guide")), kept)
    return objectives.Objective.sum([objectives.guide(layer, theirs[layer][0]) for layer in kept])


def _pixels(image: np.ndarray) -> Any:
    """Return a parameterization of a picture by its own pixels, clipped to [0, 1]."""
    how = {"fft": False, "decorrelate": False, "sigmoid": False}
    return param.image(init=image, channels=None if image.shape[-1] == 3 else image.shape[-1], **how)


def _resized(images: np.ndarray, h: int, w: int) -> np.ndarray:
    return np.asarray(jax.image.resize(images, (len(images), h, w, images.shape[-1]), "linear"))
