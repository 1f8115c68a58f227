"""`render_vis`: the call of Lucid and Lucent, with their arguments."""

from typing import Any

import numpy as np

from jaxlens._checks import check_flag, check_path
from jaxlens.data import save_image as write_image
from jaxlens.data import show_image as display
from jaxlens.model import Preprocess, check_model
from jaxlens.optvis import objectives
from jaxlens.optvis.render._arguments import STEPS, check_thresholds
from jaxlens.optvis.render._render import render


def render_vis(
    model: Any,
    objective_f: Any,
    param_f: Any = None,
    optimizer: Any = None,
    transforms: Any = None,
    thresholds: Any = (512,),
    verbose: Any = False,
    preprocess: Any = True,
    progress: Any = True,
    show_image: Any = True,
    save_image: Any = False,
    image_name: Any = None,
    show_inline: Any = False,
    fixed_image_size: Any = None,
    *,
    relu_gradient_override: Any = True,
    seed: Any = 0,
) -> list[np.ndarray]:
    """Render one objective and return its images at each threshold, as Lucid and Lucent do.

    Code written for Lucent runs as it is.

    Args:
        model: any Model.
        objective_f: as `objective` in `render`.
        param_f: a function that gives a parameterization; `lambda: param.image(128)` by default.
        optimizer: an optax optimizer (Lucent takes a function of torch parameters).
        transforms: as in `render`.
        thresholds: steps after which to return the images. The largest is the number of updates
            (Lucid makes one more).
        verbose: print the score at the start and at the thresholds.
        preprocess: False if `param_f` already makes what the network takes.
        progress: show a progress bar.
        show_image: open the final image; in a notebook, show it inline.
        save_image, image_name: write the final image to a file, "image.jpg" by default.
        show_inline: show the image at each threshold inline.
        fixed_image_size: as in `render`.
        relu_gradient_override: wake dead neurons with Lucid's redirected ReLU (`render`'s
            `redirect_steps`).
        seed: as in `render`. Lucid and Lucent cannot repeat a picture; this does.

    Returns: a list with one float32 array `[B, H, W, 3]` in [0, 1] per threshold, in ascending
        order.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import param, render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = render.render_vis(
        ...     model, "conv1:3", lambda: param.image(32, 24), thresholds=(1, 2), show_image=False,
        ...     progress=False)
        >>> [image.shape for image in images]
        [(1, 24, 32, 3), (1, 24, 32, 3)]
    """
    model = check_model(model)
    thresholds = check_thresholds(thresholds, STEPS)
    flags = {"verbose": verbose, "preprocess": preprocess, "show_image": show_image, "save_image": save_image}
    flags |= {"show_inline": show_inline, "relu_gradient_override": relu_gradient_override}
    for name, value in flags.items():
        check_flag(value, name)
    if not thresholds:
        raise ValueError("thresholds is empty: give at least one number of steps, such as (512,).")
    if hasattr(param_f, "to_image"):
        raise TypeError("param_f is a parameterization, but a function that gives one is needed: lambda: param.image(128).")
    if param_f is not None and not callable(param_f):
        raise TypeError(f"param_f={param_f!r} must be a function that gives a parameterization: lambda: param.image(128).")
    path = check_path("image.jpg" if image_name is None else image_name, "image_name")
    if not preprocess:
        model = model.replace(preprocess=Preprocess())
    objective = objectives.as_objective(objective_f, model)

    def report(info: Any) -> None:
        if info.step == 1 or info.step in thresholds:
            print(f"Score at step {info.step}: {float(np.mean(info.scores)):.3f}")

    param: Any = None if param_f is None else param_f()
    result = render(
        model,
        objective,
        param=param,
        optimizer=optimizer,
        transforms=transforms,
        steps=max(thresholds),
        thresholds=thresholds,
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
        write_image(path, _row(images[-1]))
    if show_inline:
        for each in images:
            display(_row(each))
    elif show_image:
        display(_row(images[-1]))
    return images


def _flat(images: np.ndarray) -> np.ndarray:
    """Return `[N, B, H, W, C]` as `[N * B, H, W, C]`."""
    return images.reshape(-1, *images.shape[2:])


def _row(images: np.ndarray) -> np.ndarray:
    return np.concatenate(list(images), axis=1)
