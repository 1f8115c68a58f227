"""The options of `render`, for all that pass them on: recipes, jobs, the command line."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from jaxlens._types import Flag, Seed, Size, Whole

if TYPE_CHECKING:
    import jax
    import numpy as np
    import optax

    from jaxlens._progress import Bar
    from jaxlens.model import Model
    from jaxlens.optvis.objectives import Objective
    from jaxlens.optvis.param import Parameterization
    from jaxlens.optvis.param._each import Each
    from jaxlens.optvis.render._loop import Progress
    from jaxlens.optvis.transform import Transform

    ObjectiveLike = Objective | str | Callable[[Callable[[str], jax.Array]], Any] | Sequence["ObjectiveLike"]
    Param = Parameterization | Each
    Transforms = Sequence[Transform]
    Optimizer = optax.GradientTransformation
    Seeds = Seed | Sequence[int] | np.ndarray
    Callback = Callable[[Progress], Any]
    Shown = bool | Bar
    ModelLike = Model
    Wholes = Sequence[int] | np.ndarray
    Devices = Sequence[Any]
else:  # checked by hand: an error of ours says what to do
    ObjectiveLike = Param = Transforms = Optimizer = Seeds = Callback = Shown = ModelLike = Wholes = Devices = Any


class RenderOptions(TypedDict, total=False):
    """Options of `render` that every recipe takes besides its own `size` and `steps`.

    Where a recipe has its own default for an option, the one given here replaces it, or the recipe
    refuses it by name.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> options: render.RenderOptions = {"seed": 1, "transforms": [], "progress": False}
        >>> recipes.both_signs(model, "conv1:3", size=(24, 32), steps=2, **options).names
        ('conv1:3', '-conv1:3')
    """

    param: Param | None
    transforms: Transforms | None
    optimizer: Optimizer | None
    seed: Seeds
    ids: Wholes | None
    batch_size: Whole | None
    memory_limit: Whole | None
    compute_dtype: Any
    thresholds: Wholes
    fixed_image_size: Size | None
    redirect_steps: Whole | None
    draws: Whole
    importance: Flag
    devices: Devices | None
    callback: Callback | None
    progress: Shown
