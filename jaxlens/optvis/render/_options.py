"""The options of `render` besides what is rendered, once for all that hand them on: recipes, jobs, the command line."""

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
    """Options of `render` that every recipe takes; `size` and `steps` it takes by itself, with its own defaults.

    What a recipe sets itself, it takes from here where it is given, or refuses by name.
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
