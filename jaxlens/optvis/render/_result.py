"""What a render gives back."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class RenderResult:
    """Finished images with their scores, N tasks of B images each.

    Attributes:
        images: float32 `[N, B, H, W, 3]` in [0, 1].
        scores: float32 `[N, steps]`, each step's score under that step's transforms, before its update; NaN
            where a task failed or was not reached.
        names: one short name per task, such as "mixed4a:3".
        snapshots: `{threshold: images}` after so many steps, for the thresholds asked for.
        failed_at: int `[N]`, the step at which a task became NaN or infinite, or -1. Its image is the one before.
        finished: False if the render was interrupted; it then holds what there was.
        seconds: wall-clock time, compilation included.
        theta: the parameters of the images, of which `param.to_image` makes them again, at another size too (`param.cppn`); a
            leading axis for the tasks.
        importance: float32 `[N, B, H, W]` if it was asked for: the sum over steps of the mean over colours of `|d score /
            d image|`, where the objective looked at the image; `plot.maco_display` shows it as opacity.
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

    def final_scores(self, last: int = 8) -> np.ndarray:
        """Each task's mean score over its last finite steps, as the network saw the images, moved about: float32 `[N]`."""
        return np.array(
            [row[np.isfinite(row)][-last:].mean() if np.isfinite(row).any() else np.nan for row in self.scores], np.float32
        )

    def first(self, images: int) -> "RenderResult":
        """The same with only the first so many images of each task: what was drawn, without what it was compared with."""
        shown = None if self.importance is None else self.importance[:, :images]
        return dataclasses.replace(self.map_images(lambda array: array[:, :images]), importance=shown)

    def map_images(self, function: Callable[[np.ndarray], np.ndarray]) -> "RenderResult":
        """The same with a function applied to the images, and to those of every snapshot."""
        snapshots = {step: function(array) for step, array in self.snapshots.items()}
        return dataclasses.replace(self, images=function(self.images), snapshots=snapshots)

    def __repr__(self) -> str:
        n, b, h, w, _ = self.images.shape
        state = "" if self.finished else ", interrupted"
        return f"RenderResult({n} tasks x {b} images of {h}x{w}, {self.scores.shape[1]} steps, {self.seconds:.1f} s{state})"


def concatenate(parts: list[RenderResult], order: list[int] | None = None, seconds: float | None = None) -> RenderResult:
    """Several results as one; `order[i]` is the place of the i-th task in the whole."""
    n = sum(len(part.names) for part in parts)
    ranks = np.argsort(order) if order is not None else np.arange(n)
    thresholds = set.intersection(*(set(part.snapshots) for part in parts)) if parts else set()
    steps = max(part.scores.shape[1] for part in parts)
    names = [name for part in parts for name in part.names]

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
    )
