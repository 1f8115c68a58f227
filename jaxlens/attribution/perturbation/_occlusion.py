"""Attribution by taking away one part at a time: occlusion, feature ablation and permutation."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from jaxlens._checks import as_key, check_choice, check_int, is_known
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import PATIENCE, accumulate, size_of_batches
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, FeaturesLike, TargetLike
from jaxlens.attribution.perturbation._features import Features, as_features
from jaxlens.attribution.perturbation._incremental import WindowGrid, incremental_scores, supports
from jaxlens.attribution.perturbation._masked import masked_scores
from jaxlens.model import Model

LOCAL_BATCH = 32  # windows at a time on a CPU: each batch also runs the unchanged image once
WINDOWS = 8  # the default window is this part of an axis

Overlap = Literal["mean", "sum"]
Extent = int | tuple[int, ...]


@pytree
class Windows:
    """Windows that slide over every axis of a layer's values.

    They are numbered row by row. The last of an axis may be cut at the border.
    """

    size: Any  # int [axes], each
    stride: Any
    counts: Any
    together: bool = field(static=True)  # whether the last axis, the channels, has one window for all

    @property
    def total(self) -> int:
        """The number of windows."""
        return int(np.prod(self.counts))

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Float[Array, "n *axes"]:
        lengths, hidden = query.values.shape[1:], jnp.ones((number.shape[0],) + (1,) * (query.values.ndim - 1), bool)
        for axis in reversed(range(len(lengths))):
            which, number = number % self.counts[axis], number // self.counts[axis]
            if not (self.together and axis == len(lengths) - 1):
                inside = self.covers(axis, which, lengths[axis])
                around = (1,) * axis, (1,) * (len(lengths) - 1 - axis)
                hidden = hidden & inside.reshape(inside.shape[0], *around[0], inside.shape[1], *around[1])
        return (~hidden).astype(query.values.dtype)

    def covers(self, axis: int, which: Any, length: int) -> Any:
        """Return whether window `which` of an axis holds each position: `[n, length]`."""
        past = np.arange(length)[None] - (which * self.stride[axis])[:, None]
        return (past >= 0) & (past < self.size[axis])


@method()
def occlusion(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    window: Extent | None = None,
    stride: Extent | None = None,
    overlap: Overlap = "mean",
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return how much the score falls when a window is hidden.

    `score(x) - score(x with the window at the baseline)` (Zeiler and Fergus 2014, arXiv:1311.2901).
    Each value gets the "mean" over the windows that cover it, as in captum, or their "sum", as in
    xplique. Windows start at multiples of the stride until one reaches the border, where it is cut.
    In convolutional networks, only the part of each map that a window reaches is computed anew; the
    scores are the same.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        window: (height, width) in the layer's rows and columns, or one number for both. All
            channels are hidden together, and `values` are `[B, H, W, 1]`. With a third number,
            windows slide over channels too, and `values` are `[B, H, W, C]`. For vectors and
            tokens, windows slide over their one axis. By default an eighth of each axis.
        stride: from one window to the next, at most the window. By default half the window, rounded
            down: about 15 x 15 windows for images. captum's is 1, xplique's the window.
        overlap: "mean" or "sum" over the windows that cover a value.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.occlusion(model, images, window=8, stride=8).values.shape
        (2, 24, 32, 1)
    """
    check_choice(overlap, "overlap", ("mean", "sum"))
    query = ask(model, images, target, layer=layer, baseline=baseline)
    windows = as_windows(window, stride, query)
    scores = scores_of(query, query.values, batch_size)
    drops = scores[:, None] - window_scores(query, windows, batch_size=batch_size, progress=progress)
    return Attribution(values=overlapped(query, windows, drops, overlap), scores=scores, method="occlusion", layer=query.layer)


def window_scores(query: Query, windows: Windows, *, batch_size: int | None, progress: bool) -> Float[Array, "b s"]:
    """Return the score with each window at the baseline."""
    grid = _grid(query, windows)
    if grid is not None and supports(query):
        return _by_image(query, grid, batch_size, progress)
    return masked_scores(query, windows, windows.total, batch_size=batch_size, progress=progress, label="occlusion")


def _grid(query: Query, windows: Windows) -> WindowGrid | None:
    """Return the windows as those of a map, all channels together.

    It is None for other windows, and where values are traced.
    """
    if query.values.ndim != 4 or not windows.together or not is_known(*jax.tree.leaves(query)):
        return None
    axes = zip(query.values.shape[1:3], windows.size[:2], windows.stride[:2], windows.counts[:2], strict=True)
    return WindowGrid(*zip(*(tuple(map(int, axis)) for axis in axes), strict=True))


def _by_image(query: Query, grid: WindowGrid, batch_size: int | None, progress: bool) -> jax.Array:
    """Return the scores of each image's windows, computing anew only what a window reaches."""
    total = grid.counts[0] * grid.counts[1]
    size = size_of_batches(LOCAL_BATCH if batch_size is None and jax.default_backend() == "cpu" else batch_size, total)
    starts = [(image, start) for image in range(query.count) for start in range(0, total, size)]
    found = []
    for image, start in tqdm(starts, desc="occlusion", delay=PATIENCE, disable=not progress, dynamic_ncols=True, leave=False):
        numbers = jnp.minimum(start + jnp.arange(size), total - 1)
        found.append(jax.block_until_ready(incremental_scores(query.at(jnp.asarray([image])), numbers, grid)))
    return jnp.concatenate(found).reshape(query.count, -1)[:, :total].astype(jnp.float32)


def overlapped(query: Query, windows: Windows, drops: Float[Array, "b s"], overlap: Overlap) -> Float[Array, "b *axes"]:
    """Return, at each value, the mean or sum over the windows that cover it.

    One axis is treated after the other.
    """
    found = drops.reshape(drops.shape[0], *(int(n) for n in windows.counts))
    for axis, count in enumerate(windows.counts):
        one = windows.together and axis == len(windows.counts) - 1
        cover = windows.covers(axis, np.arange(count), 1 if one else query.values.shape[1 + axis]).astype(drops.dtype)
        if overlap == "mean":
            cover = cover / cover.sum(0, keepdims=True)
        found = jnp.tensordot(found, cover, (1, 0), precision="highest")  # moves the first axis to the end
    return found


def as_windows(window: Extent | None, stride: Extent | None, query: Query) -> Windows:
    """Return the windows that a user asked for, checked."""
    axes = query.values.shape[1:]
    spatial = axes if len(axes) == 1 else axes[:-1]
    size = _extent(tuple(-(-n // WINDOWS) for n in spatial) if window is None else window, "window", axes, len(spatial))
    step = _extent(tuple(max(n // 2, 1) for n in size) if stride is None else stride, "stride", axes, len(size))
    if len(step) != len(size):
        raise ValueError(f"stride={stride!r} must be a number, or {len(size)} numbers as window={size}.")
    if any(s > w for s, w in zip(step, size, strict=True)):
        raise ValueError(f"stride={step} must be at most window={size}: values between the windows would never be hidden.")
    together = len(size) < len(axes)
    size, step = (size + axes[-1:], step + axes[-1:]) if together else (size, step)
    counts = tuple(-(-(n - w) // s) + 1 for n, w, s in zip(axes, size, step, strict=True))
    return Windows(size=np.asarray(size), stride=np.asarray(step), counts=np.asarray(counts), together=together)


def _extent(value: Any, name: str, axes: tuple[int, ...], many: int) -> tuple[int, ...]:
    """Return one number for each of `many` axes of the values, or one more for channels."""
    each = tuple(value) if isinstance(value, tuple | list) else (value,) * many
    if len(each) not in (many, len(axes)):
        raise ValueError(f"{name}={value!r} must be a number, or one for each axis of {axes[:many]} or {axes}.")
    return tuple(check_int(n, name, low=1, high=axes[axis]) for axis, n in enumerate(each))


@pytree
class LeaveOut:
    """Masks of which number s takes feature s away."""

    features: Features

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Any:
        numbers = self.features.of(query, image)
        return (numbers != number.reshape((-1,) + (1,) * (numbers.ndim - 1))).astype(query.values.dtype)


@method()
def feature_ablation(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    features: FeaturesLike = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return how much the score falls when a feature is taken away.

    `score(x) - score(x with the feature at the baseline)`.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: which values go together (captum's feature_mask): integers 0, 1, ... of shape
            `[H, W]`, `[H, W, C]` (or the layer's), or `[B, ...]` for each image. Values numbered -1
            are never taken away and get 0. `grid_features` makes such numbers, and so do
            segmentations into superpixels. By default every value is a feature, if there are not
            more than 1024.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's drop; C = 1 if the features have no axis of channels.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> cells = attribution.grid_features((24, 32), (3, 4))
        >>> attribution.feature_ablation(model, images, features=cells).values.shape
        (2, 24, 32, 1)
    """
    query = ask(model, images, target, layer=layer, baseline=baseline)
    groups = as_features(features, query)
    masks, scores = LeaveOut(features=groups), scores_of(query, query.values, batch_size)
    without = masked_scores(query, masks, groups.count, batch_size=batch_size, progress=progress, label="feature ablation")
    values = groups.spread(scores[:, None] - without, query)
    return Attribution(values=values, scores=scores, method="feature_ablation", layer=query.layer)


@entry
def feature_permutation(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    features: FeaturesLike = None,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return how much the score falls when a feature comes from another image of the batch.

    `score(x) - score(x with the other's feature)`: the idea of Breiman 2001
    (doi:10.1023/A:1010933404324) for one image at a time. The mean over a batch says what the
    network uses. For each feature the images form one random cycle, and each takes the feature from
    its neighbor, so that all change; captum's random permutation leaves some images their own.
    Unlike all other methods this one depends on the batch.

    Args:
        model, images, target, layer, features, batch_size: see `feature_ablation`; there must be 2
            images or more.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (3, 24, 32, 3))
        >>> cells = attribution.grid_features((24, 32), 2)
        >>> attribution.feature_permutation(model, images, features=cells).values.shape
        (3, 24, 32, 1)
    """
    query = ask(model, images, target, layer=layer)
    if query.count < 2:
        raise ValueError("images holds one image, but feature_permutation takes features from the others: give 2 or more.")
    groups, key = as_features(features, query), as_key(seed)
    scores = scores_of(query, query.values, batch_size)
    donors = rings(key, groups.count, query.count)
    without = permuted_scores(query, groups, donors, batch_size=batch_size, progress=progress)
    values = groups.spread(scores[:, None] - without, query)
    return Attribution(values=values, scores=scores, method="feature_permutation", layer=query.layer)


@functools.partial(jax.jit, static_argnums=(1, 2))
def rings(key: Any, features: int, images: int) -> Int[Array, "f b"]:
    """Return `donors[f, b]`: the image from which image b takes feature f.

    For each feature there is one random cycle through the batch, so no image keeps its own.
    """

    def ring(feature: Any) -> jax.Array:
        order = jnp.argsort(jax.random.uniform(jax.random.fold_in(key, feature), (images,)))
        return jnp.zeros_like(order).at[order].set(jnp.roll(order, 1))

    return jax.vmap(ring)(jnp.arange(features))


def permuted_scores(
    query: Query, features: Features, donors: Any, *, batch_size: int | None, progress: bool
) -> Float[Array, "b f"]:
    """Return the score of each image with each feature from image `donors[feature, image]`."""
    state, work = jnp.zeros((query.count, features.count), jnp.float32), (LeaveOut(features=features), donors, query.values)
    return accumulate(
        _fill, query, work, state, features.count, batch_size=batch_size, progress=progress, label="feature permutation"
    )


def _fill(query: Query, work: Any, image: jax.Array, number: jax.Array, alive: jax.Array, state: jax.Array) -> jax.Array:
    masks, donors, values = work
    keep = masks.masks(query, image, number)
    theirs = values[donors[number, image]]
    mixed = jnp.where(jnp.broadcast_to(keep > 0, theirs.shape), query.values, theirs)
    return state.at[image, number].set(query.scores(mixed).astype(state.dtype))
