"""Endless zooms into a dream."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_int, check_number
from jaxlens._interrupt import deferred_interrupt
from jaxlens._progress import progress_bar
from jaxlens._types import Images, Number, Whole
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._deepdream import deepdream
from jaxlens.recipes._inputs import pictures


def zoom(
    model: ModelLike,
    image: Images,
    layers: Any,
    *,
    frames: Whole = 60,
    factor: Number = 1.03,
    octaves: Whole = 2,
    octave_scale: Number = 1.4,
    steps: Whole = 4,
    rate: Number = 0.01,
    jitter: Whole = 32,
    guide: Images | None = None,
    tile: Whole | None = None,
    **options: Unpack[RenderOptions],
) -> np.ndarray:
    """Render an endless zoom into a dream: each frame is the last one, enlarged and dreamt on.

    Args:
        model: any Model.
        image: `[H, W, 3]` in [0, 1], the first frame.
        layers, octaves, octave_scale, steps, rate, jitter, guide, tile, options: of `deepdream`,
            for each frame. All frames go through the same programs.
        frames: how many frames follow the first.
        factor: by how much the middle is enlarged from one frame to the next.

    Returns: float32 `[frames + 1, H, W, 3]` in [0, 1], for
        `data.save_animation("zoom.mp4", frames)` or ".gif". Ctrl-C returns the frames so far.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3))
        >>> recipes.zoom(
        ...     model, photo, "conv2", frames=2, octaves=1, steps=2, jitter=2, progress=False).shape
        (3, 24, 32, 3)
    """
    (picture, *more) = pictures(model, image, "image")
    if more:
        raise ValueError(f"image holds {1 + len(more)} pictures, but a zoom begins with one.")
    frames, factor = check_int(frames, "frames", low=1, high=10**6), check_number(factor, "factor")
    if not 1 < factor < 2:
        raise ValueError(f"factor={factor:g} must be between 1 and 2; 1.03 is common.")
    shown, progress = [picture], options.pop("progress", True)
    dream: dict[str, Any] = {"octaves": octaves, "octave_scale": octave_scale, "steps": steps, "rate": rate}
    dream |= {"jitter": jitter, "guide": guide, "tile": tile, **options, "progress": False}
    with deferred_interrupt() as pressed, progress_bar(frames, "frame", progress) as bar:
        try:
            while len(shown) <= frames and not pressed():
                closer = _enlarged(shown[-1], factor)
                result = deepdream(model, closer, layers, **dream)
                if not result.finished:
                    break
                shown.append(np.asarray(result.images[0, 0]))
                bar.update(1)
        except KeyboardInterrupt:
            pass
    return np.stack(shown)


def _enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """Return the middle of a picture, enlarged to the picture's size."""
    size = np.array(image.shape[:2], np.float32)
    scale = jnp.full(2, factor, jnp.float32)
    moved = jnp.asarray((1 - factor) * size / 2)
    return np.clip(np.asarray(jax.image.scale_and_translate(image, image.shape, (0, 1), scale, moved, "cubic")), 0, 1)
