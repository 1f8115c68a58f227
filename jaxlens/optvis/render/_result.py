"""What a render gives back."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxlens.optvis.render._task import Task


@dataclasses.dataclass(frozen=True)
class RenderResult:
    """Finished images with their scores, N tasks of B images each.

    Attributes:
        images: float32 `[N, B, H, W, 3]` in [0, 1].
        scores: float32 `[N, steps]`: the score at each step, under its transforms and before its
            update; NaN where a task failed or was not reached.
        names: one short name per task, such as "mixed4a:3".
        snapshots: `{threshold: images}` after that many steps, for the thresholds asked for.
        failed_at: int `[N]`, the step at which a task became NaN or infinite, or -1. Its image is
            the one before that step.
        finished: False if the render was interrupted; the result then holds what there was.
        seconds: wall-clock time, compilation included.
        theta: the parameters of the images, with a leading axis for the tasks. `param.to_image`
            makes the images of them again, at another size too (`param.cppn`).
        importance: float32 `[N, B, H, W]` if it was asked for: the sum over steps of the mean over
            colors of `|d score / d image|`. It is large where the objective looked at the image;
            `plot.maco_display` shows it as opacity.
        tasks: one `Task` per task, with its layer, channel and class.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = render.render(model, "conv1:0-2", size=(24, 32), steps=2, progress=False)
        >>> result.images.shape, result.scores.shape, result.names
        ((3, 1, 24, 32, 3), (3, 2), ('conv1:0', 'conv1:1', 'conv1:2'))
        >>> [(task.layer, task.channel) for task in result.tasks]
        [('conv1', 0), ('conv1', 1), ('conv1', 2)]
    """

    images: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    snapshots: Mapping[int, np.ndarray]
    failed_at: np.ndarray
    finished: bool
    seconds: float
    theta: Any = None
    importance: np.ndarray | None = None
    tasks: tuple[Task, ...] = ()

    def final_scores(self, last: int = 8) -> np.ndarray:
        """Return each task's mean score over its `last` finite steps, float32 `[N]`.

        The network saw the images under the random transforms of those steps.
        """
        return np.array(
            [row[np.isfinite(row)][-last:].mean() if np.isfinite(row).any() else np.nan for row in self.scores], np.float32
        )

    def first(self, images: int) -> "RenderResult":
        """Return the result with only the first `images` images of each task.

        Recipes use it to keep what was drawn and to leave out the images that it was compared with.
        """
        shown = None if self.importance is None else self.importance[:, :images]
        return dataclasses.replace(self.map_images(lambda array: array[:, :images]), importance=shown)

    def map_images(self, function: Callable[[np.ndarray], np.ndarray]) -> "RenderResult":
        """Return the result with a function applied to its images and those of every snapshot."""
        snapshots = {step: function(array) for step, array in self.snapshots.items()}
        return dataclasses.replace(self, images=function(self.images), snapshots=snapshots)

    def __repr__(self) -> str:
        n, b, h, w, _ = self.images.shape
        state = "" if self.finished else ", interrupted"
        return f"RenderResult({n} tasks x {b} images of {h}x{w}, {self.scores.shape[1]} steps, {self.seconds:.1f} s{state})"


def concatenate(parts: list[RenderResult], order: list[int] | None = None, seconds: float | None = None) -> RenderResult:
    """Join several results into one; `order[i]` is the place of the i-th task in the whole."""
    n = sum(len(part.names) for part in parts)
    ranks = np.argsort(order) if order is not None else np.arange(n)
    thresholds = set.intersection(*(set(part.snapshots) for part in parts)) if parts else set()
    steps = max(part.scores.shape[1] for part in parts)
    names = [name for part in parts for name in part.names]
    tasks = [task for part in parts for task in part.tasks]

    def join(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[ranks]

    return RenderResult(
        images=join([part.images for part in parts]),
        scores=join([np.pad(p.scores, ((0, 0), (0, steps - p.scores.shape[1])), constant_values=np.nan) for p in parts]),
        names=tuple(names[i] for i in ranks),
        snapshots={t: join([part.snapshots[t] for part in parts]) for t in sorted(thresholds)},
        failed_at=join([part.failed_at for part in parts]),
        finished=all(part.finished for part in parts),
        seconds=sum(part.seconds for part in parts) if seconds is None else seconds,
        theta=jax.tree.map(lambda *leaves: join(list(leaves)), *[part.theta for part in parts]),
        importance=join(maps) if len(maps := [p.importance for p in parts if p.importance is not None]) else None,
        tasks=tuple(tasks[i] for i in ranks),
    )
