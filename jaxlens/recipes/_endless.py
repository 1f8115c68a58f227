"""Pictures without an end: patterns that tile the plane, zooms that never stop; and pictures without a background."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_int, check_number, check_size
from jaxlens._progress import progress_bar
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._interrupt import deferred_interrupt
from jaxlens.recipes._dream import deepdream
from jaxlens.recipes._inputs import canvas, pictures, tasks_of


def tileable(
    model: Any,
    objective: Any,
    *,
    size: Any = 128,
    scales: Any = (0.7, 1.2),
    angles: Any = 10.0,
    **options: Any,
) -> RenderResult:
    """Pictures that tile the plane without seams: infinite patterns.

    Each step shows the network a window of the endless tiling, of the picture's size, at a random place, scale and angle: no
    pixel is ever at a border. The parameterization is periodic too, so that nothing is drawn toward one.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the tile.
        scales: the interval of random scales; below 1 the window shows more than one tile.
        angles: the largest rotation to either side, in degrees.
        options: of `render`.

    `np.tile(result.images[0, 0], (3, 3, 1))` shows nine tiles. Lucid's notebook on infinite patterns has a CPPN on a torus, and
    octaves; here coarse and fine are left to the Fourier coefficients.
    """
    if not isinstance(scales, tuple | list) or len(scales) != 2:
        raise TypeError(f"scales={scales!r} must be two numbers, such as (0.7, 1.2).")
    low, high = (check_number(scale, "scales") for scale in scales)
    if not 0.1 <= low <= high <= 10:
        raise ValueError(f"scales={scales} must be two numbers in ascending order, 0.1 to 10, such as (0.7, 1.2).")
    angles = check_number(angles, "angles", low=0, high=180)
    own = canvas(model, options, size)
    height, width = own.shape[1:3]
    moves = [transform.roll(), transform.pad(_around(height, width, low, angles), "wrap")]
    moves.append(transform.random_scale(transform.uniform(low, high) if low < high else [low]))
    if angles:
        moves.append(transform.random_rotate(transform.uniform(-angles, angles)))
    options = {"transforms": [*moves, transform.crop_or_pad_to(height, width)]} | options
    return render(model, objective, param=own, **options)


def _around(height: int, width: int, scale: float, angles: float) -> int:
    """How far a window of a size reaches out of itself, at the most, when it is enlarged by 1 / scale and turned."""
    turns = np.radians(np.linspace(0, min(angles, 90), 91))
    down = (height * np.cos(turns) + width * np.sin(turns)).max() / scale - height
    right = (width * np.cos(turns) + height * np.sin(turns)).max() / scale - width
    return int(np.ceil(max(down, right, 0) / 2)) + 2


def transparent(
    model: Any, objective: Any, *, size: Any = 128, blur: Any = 0.1, weight: Any = 1.0, **options: Any
) -> RenderResult:
    """Pictures with opacity, opaque only where the objective needs it.

    Maximises `objective * (1 - weight * mean opacity) - blur * blur_alpha_each_step`, in front of random backgrounds. For
    objectives that are positive.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the pictures.
        blur: how smooth the opacity is.
        weight: how much opacity costs, at most 1.
        options: of `render`; `transforms` follow the one that puts the pictures in front of a background.

    Returns: a RenderResult whose images have four channels; `data.save_image("x.png", ...)` keeps the opacity.

    Lucid's recipes.feature_visualization with `alpha=True`.
    """
    weight, blur = check_number(weight, "weight"), check_number(blur, "blur", low=0)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight:g} must be in [0, 1]: above, an opaque picture would count against the objective.")
    if check_model(model).channels != 3:
        raise ValueError(f"{model.name} takes {model.channels} channels: opacity is for colours.")
    own = options.pop("param", None)
    if own is None:
        height, width = check_size(size, "size")
        own = param.image(width, height, alpha=True)
    opacity = objectives.channel("input", 3)
    tasks = tasks_of(model, objective)
    terms = [task * (1 - weight * opacity) - blur * objectives.blur_alpha_each_step() for task in tasks]
    moves = options.pop("transforms", None)
    moves = [transform.collapse_alpha_random(), *(transform.standard_transforms if moves is None else moves)]
    return render(model, terms, param=own, transforms=moves, **options)


def zoom(
    model: Any,
    image: Any,
    layers: Any,
    *,
    frames: Any = 60,
    factor: Any = 1.03,
    octaves: Any = 2,
    steps: Any = 4,
    progress: Any = True,
    **options: Any,
) -> np.ndarray:
    """An endless zoom into a dream: each frame is the one before, enlarged a little and dreamt on.

    Args:
        model: any Model.
        image: `[H, W, 3]` in [0, 1], the first frame.
        layers, octaves, steps, options: of `deepdream`, for each frame. All frames go through the same programs.
        frames: how many follow.
        factor: by how much the middle is enlarged from one frame to the next.
        progress: show a progress bar.

    Returns: float32 `[frames + 1, H, W, 3]` in [0, 1], for `data.save_animation("zoom.mp4", frames)` or ".gif". Ctrl-C returns
        the frames so far.
    """
    (picture, *more) = pictures(model, image, "image")
    if more:
        raise ValueError(f"image holds {1 + len(more)} pictures, but a zoom begins with one.")
    frames, factor = check_int(frames, "frames", low=1, high=10**6), check_number(factor, "factor")
    if not 1 < factor < 2:
        raise ValueError(f"factor={factor:g} must be between 1 and 2; 1.03 is common.")
    shown = [picture]
    with deferred_interrupt() as pressed, progress_bar(frames, "frame", progress) as bar:
        try:
            while len(shown) <= frames and not pressed():
                closer = _enlarged(shown[-1], factor)
                result = deepdream(model, closer, layers, octaves=octaves, steps=steps, progress=False, **options)
                if not result.finished:
                    break
                shown.append(np.asarray(result.images[0, 0]))
                bar.update(1)
        except KeyboardInterrupt:
            pass
    return np.stack(shown)


def _enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """The middle of a picture, enlarged to its size."""
    size = np.array(image.shape[:2], np.float32)
    scale = jnp.full(2, factor, jnp.float32)
    moved = jnp.asarray((1 - factor) * size / 2)
    return np.clip(np.asarray(jax.image.scale_and_translate(image, image.shape, (0, 1), scale, moved, "cubic")), 0, 1)
