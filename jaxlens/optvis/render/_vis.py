"""`render_vis`: the call of Lucid and Lucent, word for word."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlens.data import save_image as write_image
from jaxlens.data import show_image as display
from jaxlens.model import Model, Preprocess
from jaxlens.optvis import objectives
from jaxlens.optvis.param import image as default_image
from jaxlens.optvis.render._render import render


def render_vis(
    model: Model,
    objective_f: Any,
    param_f: Callable[[], Any] | None = None,
    optimizer: Any = None,
    transforms: Any = None,
    thresholds: Sequence[int] = (512,),
    verbose: bool = False,
    preprocess: bool = True,
    progress: bool = True,
    show_image: bool = True,
    save_image: bool = False,
    image_name: str | None = None,
    show_inline: bool = False,
    fixed_image_size: int | None = None,
    *,
    relu_gradient_override: bool = True,
    seed: int = 0,
) -> list[np.ndarray]:
    """Renders one objective and returns its images at each threshold; code written for Lucent runs as it is.

    Args:
        model: any Model.
        objective_f: as `objective` in `render`.
        param_f: a function that gives a parameterization; `lambda: param.image(128)` by default.
        optimizer: an optax optimizer (Lucent takes a function of torch parameters).
        transforms: as in `render`.
        thresholds: steps after which to return the images; the largest is the number of steps. Exactly so
            many updates are made (Lucid makes one more).
        verbose: print the score at the start and at the thresholds.
        preprocess: False if `param_f` already makes what the network eats.
        progress: show a progress bar.
        show_image: open the final image, in a notebook inline.
        save_image, image_name: write the final image to a file, "image.jpg" by default.
        show_inline: show the image at each threshold inline.
        fixed_image_size: as in `render`.
        relu_gradient_override: wake dead neurons with Lucid's redirected ReLU (`render`'s `redirect_steps`).
        seed: as in `render`. Lucid and Lucent cannot repeat a picture; this does.

    Returns: a list with one float32 array `[B, H, W, 3]` in [0, 1] per threshold, in ascending order.
    """
    if not thresholds:
        raise ValueError("thresholds is empty: give at least one number of steps, such as (512,).")
    parameterization = default_image(128) if param_f is None else param_f()
    if not preprocess:
        model = model.replace(preprocess=Preprocess())
    objective = objectives.as_objective(objective_f, model)

    def report(info: Any) -> None:
        if info.step == 1 or info.step in thresholds:
            print(f"Score at step {info.step}: {float(np.mean(info.scores)):.3f}")

    result = render(
        model,
        objective,
        param=parameterization,
        optimizer=optimizer,
        transforms=transforms,
        steps=max(thresholds),
        thresholds=tuple(thresholds),
        fixed_image_size=fixed_image_size,
        progress=progress,
        seed=seed,
        redirect_steps=None if relu_gradient_override else 0,
        callback=report if verbose else None,
    )
    images = [_flat(result.snapshots[t]) for t in sorted(result.snapshots)]
    if not result.finished:
        images.append(_flat(result.images))
    if save_image:
        write_image(image_name or "image.jpg", _row(images[-1]))
    if show_inline:
        for each in images:
            display(_row(each))
    elif show_image:
        display(_row(images[-1]))
    return images


def _flat(images: np.ndarray) -> np.ndarray:
    """`[N, B, H, W, C]` as `[N * B, H, W, C]`."""
    return images.reshape(-1, *images.shape[2:])


def _row(images: np.ndarray) -> np.ndarray:
    return np.concatenate(list(images), axis=1)
