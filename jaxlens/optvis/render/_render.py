"""`render`: any number of tasks in batches, checked before anything is compiled."""

import dataclasses
import functools
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxlens._checks import check_flag, check_function, check_int, one_line
from jaxlens._interrupt import deferred_interrupt
from jaxlens._progress import Bar, check_progress, progress_bar
from jaxlens._types import Flag, Images, Size, Whole
from jaxlens.errors import ImageTooSmallError, NonFiniteError, NonFiniteWarning
from jaxlens.model import Model, check_model
from jaxlens.model.rules import redirected
from jaxlens.optvis import objectives, transform
from jaxlens.optvis.objectives._base import task_count
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import _step
from jaxlens.optvis.render._arguments import (
    DRAWS,
    STEPS,
    check_count,
    check_devices,
    check_ids,
    check_optimizer,
    check_thresholds,
    network_size,
    parameterization,
    refuse_traced,
    task_keys,
)
from jaxlens.optvis.render._batch_size import default_batch_size
from jaxlens.optvis.render._loop import Job
from jaxlens.optvis.render._options import (
    Callback,
    Devices,
    ModelLike,
    ObjectiveLike,
    Optimizer,
    Param,
    Seeds,
    Shown,
    Transforms,
    Wholes,
)
from jaxlens.optvis.render._result import RenderResult, concatenate
from jaxlens.optvis.render._task import tasks_of
from jaxlens.optvis.render._tasks import Tasks, keys_of, run_tasks

LEARNING_RATE = 0.05  # Adam's, in Lucid and Lucent
REDIRECT_STEPS = 16  # Lucid's


def render(
    model: ModelLike,
    objective: ObjectiveLike,
    *,
    size: Size = 128,
    steps: Whole = 512,
    param: Param | None = None,
    transforms: Transforms | None = None,
    optimizer: Optimizer | None = None,
    seed: Seeds = 0,
    ids: Wholes | None = None,
    batch_size: Whole | None = None,
    memory_limit: Whole | None = None,
    compute_dtype: Any = None,
    thresholds: Wholes = (),
    fixed_image_size: Size | None = None,
    redirect_steps: Whole | None = None,
    draws: Whole = 1,
    importance: Flag = False,
    devices: Devices | None = None,
    callback: Callback | None = None,
    progress: Shown = True,
) -> RenderResult:
    """Render images that maximize objectives: what neurons respond to.

    Each *task* is one objective with its own random key and its own B images; all tasks of a batch
    go through one compiled program. Other channels, weights, seeds, steps and objectives of the
    same structure never compile again. What a task draws depends on the seed and its own objective
    only, so a neuron looks the same alone, among 500, in another order, and on several devices, up
    to float rounding.

    Args:
        model: any Model.
        objective: an objective (`objectives.channel("mixed4a", range(512))` is 512 tasks), a string
            ("mixed4a:3", "mixed4a:0-15", "mixed4a:all"), a function `T -> score`, or a list of
            these.
        size: side, or (height, width), of the images.
        steps: number of updates.
        param: a parameterization, instead of `param.image(width, height)`; `size` is then ignored.
            `param.each([...])` has one for each task.
        transforms: list of `(key, images) -> images`; None is `transform.standard_transforms`, []
            is none.
        optimizer: any optax optimizer; Adam with rate 0.05 by default. Keep the object: optax makes
            a new one at each call, and a new optimizer is a new program.
        seed: an int or key for all tasks, or one int per task.
        ids: one integer per task, mixed with `seed` to give its random draws. Default: a hash of
            the objective's numbers. Pass ids when those numbers were measured (activations of a
            photo): rounding would change the draws.
        batch_size: the most tasks to render together. Default: 64 per accelerator; on a CPU one for
            every two cores, because larger batches overflow its caches. Fewer where the compiled
            step does not fit into the memory, or memory runs out. It does not change the pictures.
        memory_limit: bytes each accelerator (on a CPU: this process) may use; default: all the
            device has. Batches shrink until the step plus what is already allocated fits into 78 %
            of it.
        compute_dtype: of the network's weights and activations, such as "bfloat16": on accelerators
            with half the memory and up to twice the speed, on CPUs slower. The image, its Fourier
            transform, the transforms, the objective and the optimizer stay in float32. None leaves
            the model as it is.
        thresholds: steps after which to keep a snapshot.
        fixed_image_size: the size to which the images are resized, bilinearly, after the
            transforms. By default images smaller than `model.input_size` are enlarged to it and
            others keep their size, as Lucent does; images that are not square keep their shape.
        redirect_steps: number of first steps in which dead neurons are woken: a task without any
            gradient, because every ReLU on its way is shut, takes the gradient that Lucid's
            redirected ReLU passes (`rules.redirected`). Other tasks are not affected. None is 16
            where the rule knows every nonlinearity up to the layer, else 0.
        draws: how many times the transforms are drawn in each step; the score is the mean.
        importance: sum up over all steps how much each pixel mattered, for
            `RenderResult.importance`.
        devices: to split the tasks over; all local devices by default.
        callback: called with a `Progress` after each step of a batch; returning True ends that
            batch.
        progress: show a progress bar; outside a terminal and a notebook, a line now and then.

    Returns: a `RenderResult`. Ctrl-C returns what is rendered so far, with `finished=False`.

    Raises:
        UnknownLayerError, ImageTooSmallError, ValueError, TypeError: before anything is compiled.
        MemoryError: if a single task does not fit.
        NonFiniteError: if every task became NaN or infinite; if only some did, a `NonFiniteWarning`
            says which and when.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import objectives, render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> neurons = objectives.channel("conv1", range(4))
        >>> result = render.render(model, neurons, size=(24, 32), steps=2, progress=False)
        >>> result.images.shape
        (4, 1, 24, 32, 3)
    """
    began = time.perf_counter()
    model = check_model(model)
    refuse_traced("render", model, objective, param, seed)
    check_optimizer(optimizer)
    if callback is not None:
        check_function(callback, "callback", "lambda progress: print(progress.step)")
    groups = _groups(objective, model)
    canvas: Any = parameterization(param, size, model)
    groups = _for_each(groups, canvas)
    steps, draws = check_count(steps, "steps", low=0, most=STEPS), check_count(draws, "draws", low=1, most=DRAWS)
    thresholds = check_thresholds(thresholds, steps)
    importance, progress = check_flag(importance, "importance"), check_progress(progress)
    chain = transform.compose(transform.standard_transforms if transforms is None else transforms)
    resize_to = network_size(model, canvas.shape, fixed_image_size)
    redirects = [_check(model, group, canvas, chain, resize_to, redirect_steps) for group, _ in groups]
    devices = check_devices(devices, model)
    keys = task_keys(seed, sum(len(places) for _, places in groups))
    total = sum(len(places) for _, places in groups)
    numbers = None if ids is None else check_ids(ids, total)
    shown = [tasks_of(group, len(places), model) for group, places in groups]

    most = default_batch_size(devices) if batch_size is None else check_int(batch_size, "batch_size", low=1)
    # the few tasks that a CPU gets by default fit, and asking the compiler costs part of a second
    check = memory_limit is not None or batch_size is not None or devices[0].platform != "cpu"
    if memory_limit is not None:
        check_int(memory_limit, "memory_limit", low=1)
    if compute_dtype is not None:
        try:
            model = model.astype(compute_dtype)
        except TypeError as error:  # it names the argument of `astype`
            raise TypeError(str(error).replace("dtype=", "compute_dtype=", 1)) from None

    parts: list[RenderResult] = []
    order: list[int] = []
    interrupted = False
    with deferred_interrupt() as pressed, progress_bar(steps * total, "step", progress) as bar:
        spec = _step.StepSpec(optimizer or _adam(), resize_to, None, draws, importance)
        advance = functools.partial(_advance, bar)
        try:
            for (group, places), redirect, about in zip(groups, redirects, shown, strict=True):
                bar.compiling()
                job = Job(spec, steps, redirect, thresholds, callback, advance)
                own = keys_of(group, places, keys, numbers)
                work = _step.Work(model=model, param=canvas, transforms=chain, objective=group, keys=own)
                tasks = Tasks(work, places, about)
                for part, finished, interrupted in run_tasks(job, tasks, most, devices, memory_limit, check):
                    parts.append(part)
                    order += finished
                    if interrupted or pressed():  # also if Ctrl-C came too late for the batch to notice
                        raise KeyboardInterrupt
        except KeyboardInterrupt:  # in a batch or between two: keep what is finished
            if not parts:
                raise
            interrupted = True
    result = concatenate(parts, order, time.perf_counter() - began)
    return _report(dataclasses.replace(result, finished=result.finished and not interrupted))


def evaluate(model: ModelLike, objective: ObjectiveLike, images: Images, *, fixed_image_size: Size | None = None) -> np.ndarray:
    """Return the scores of finished images without transforms, one per task, float32 `[N]`.

    This is the number to compare between methods.

    Args:
        model: any Model.
        objective: N tasks, as in `render`.
        images: float `[N, B, H, W, 3]` in [0, 1], as in `RenderResult.images`.
        fixed_image_size: as in `render`; images are resized for the network as `render` does.

    Raises:
        ValueError: if there are not as many images as tasks.

    Example:
        >>> import numpy as np
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = np.full((2, 1, 24, 32, 3), 0.5, np.float32)
        >>> render.evaluate(model, "conv1:0-1", images).shape
        (2,)
    """
    model = check_model(model)
    refuse_traced("evaluate", model, objective, images)
    images = _finished(model, images)
    resize_to = network_size(model, images.shape[1:], fixed_image_size)
    groups = _groups(objective, model)
    total = sum(len(places) for _, places in groups)
    if total != len(images):
        raise ValueError(f"images holds {len(images)} tasks, but the objective has {total}; they must be as many.")
    for group, _ in groups:
        _check_group(model, group, images.shape[1:], resize_to or images.shape[2:4])
    scores = np.zeros(total, np.float32)
    for group, places in groups:
        scores[places] = _step.evaluate(model, group, images[np.asarray(places)], resize_to)
    return scores


def _finished(model: Model, images: Any) -> Array:
    """Check images to be scored; return them as float32 `[N, B, H, W, C]`."""
    if not isinstance(images, np.ndarray | jax.Array) or not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images must be floats [N, B, H, W, C], as in RenderResult.images, but got {one_line(repr(images), 80)}."
        )
    if images.ndim != 5 or 0 in images.shape:
        raise ValueError(f"images has shape {images.shape}, but [N, B, H, W, C] is needed, as in RenderResult.images.")
    if images.shape[-1] != model.channels:
        raise ValueError(f"images has {images.shape[-1]} channels, but {model.name} takes {model.channels}.")
    if not np.isfinite(np.asarray(images)).all():
        raise ValueError("images holds NaN or infinite values, which have no score.")
    return jnp.asarray(images, jnp.float32)


@functools.cache
def _adam() -> optax.GradientTransformation:
    return optax.adam(LEARNING_RATE)


def _groups(objective: Any, model: Model) -> list[tuple[Any, list[int]]]:
    """Group the tasks of an objective by structure, each group with its places in the whole."""
    items = objectives.as_objective(objective, model)
    groups: dict[Any, tuple[list[Any], list[int]]] = {}
    place = 0
    for item in items if isinstance(items, list) else [items]:
        item = item.bind(model)
        count = task_count(item) or 1
        members, places = groups.setdefault(jax.tree.structure(item), ([], []))
        members.append(item)
        places += range(place, place + count)
        place += count
    return [(objectives.stack(members), places) for members, places in groups.values()]


def _for_each(groups: list[tuple[Any, list[int]]], param: Any) -> list[tuple[Any, list[int]]]:
    """Return the groups with one task per parameterization; one objective serves all of them."""
    total = sum(len(places) for _, places in groups)
    if not isinstance(param, Each) or total == param.count:
        return groups
    if total != 1:
        raise ValueError(f"param.each holds {param.count} parameterizations, but the objective has {total} tasks.")
    ((group, _),) = groups
    return [(jax.tree.map(lambda leaf: np.repeat(leaf, param.count, 0), group), list(range(param.count)))]


def _check(
    model: Model, group: Any, param: Any, chain: Any, resize_to: tuple[int, int] | None, redirect_steps: int | None
) -> int:
    """Refuse layers, channels, positions and sizes that do not exist; return `redirect_steps`.

    Only shapes are computed.
    """
    param = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), param) if isinstance(param, Each) else param
    images = jax.eval_shape(lambda key: param.to_image(param.init(key)), jax.random.key(0))
    moved = jax.eval_shape(chain, jax.random.key(0), images)
    if getattr(moved, "ndim", 0) != 4 or not jnp.issubdtype(moved.dtype, jnp.floating):
        raise ValueError(f"transforms give {moved} of images {images.shape}, but floats [B, H, W, C] are needed.")
    seen = moved.shape[1:3] if resize_to is None else resize_to
    if moved.shape[-1] != model.channels:
        hint = " Images with opacity need transform.collapse_alpha_random() first." if moved.shape[-1] == 4 else ""
        raise ValueError(
            f"param and transforms make {moved.shape[-1]} channels, but {model.name} takes {model.channels}.{hint}"
        )
    layers = _check_group(model, group, images.shape, seen)
    if redirect_steps is None:
        return REDIRECT_STEPS if layers and model.rule is None else 0
    if check_count(redirect_steps, "redirect_steps", low=0, most=STEPS) and layers:
        # raises for nonlinearities that the rule does not know
        model.with_gradient_rule(redirected()).shapes((seen[0], seen[1]), layers)
    return redirect_steps


def _check_group(model: Model, group: Any, images: tuple[int, ...], seen: tuple[int, ...]) -> list[str]:
    """Check an objective against the layers' shapes; return its layers.

    Args:
        model: the network.
        group: the objective.
        images: shape `(B, H, W, C)` of a task's images.
        seen: height and width at which the network sees them.
    """
    layers = [layer for layer in group.layers if layer != "input"]
    try:
        shapes = model.shapes((seen[0], seen[1]), layers) if layers else {}
    except (TypeError, ValueError) as error:
        own = (model.input_size[0], model.input_size[1])
        if isinstance(error, ImageTooSmallError) or model.fixed_size or own == tuple(seen):
            raise
        model.shapes(own, layers)  # what is wrong at its own size too raises here, in its own words
        raise ValueError(
            f"{model.name} does not take images of {seen[0]}x{seen[1]}: {str(error).splitlines()[0][:200]} Show them to it at "
            f"another size: fixed_image_size={own}."
        ) from error
    group.check(shapes | {"input": tuple(images[1:])}, images[0])
    return layers


def _advance(bar: Bar, count: int, scores: np.ndarray) -> None:
    bar.update(count, f"score={np.nanmean(scores):.4g}" if np.isfinite(scores).any() else "score=nan")


def _report(result: RenderResult) -> RenderResult:
    """Say which tasks failed, and at which step."""
    failed = np.flatnonzero(result.failed_at >= 0)
    if not len(failed):
        return result
    which = ", ".join(f"task {i} ({result.names[i]}) at step {result.failed_at[i]}" for i in failed[:5])
    message = (
        f"{len(failed)} of {len(result.names)} tasks became NaN or infinite: {which}{' ...' if len(failed) > 5 else ''}. "
        "Each keeps its image from before that step. A smaller learning rate, or a look at the objective, may help."
    )
    if len(failed) == len(result.names):
        raise NonFiniteError(message + " The last good images are in `error.result`.", result)
    warnings.warn(message, NonFiniteWarning, stacklevel=3)
    return result
