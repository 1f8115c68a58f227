"""The snapshots of a render, in order."""

from typing import Any

import numpy as np

from jaxlens._checks import brief, check_int
from jaxlens.optvis.render import RenderResult


def evolution(result: Any, task: Any = 0) -> tuple[np.ndarray, list[str]]:
    """The snapshots of one task in order, and their names: `plot.contact_sheet(*recipes.evolution(result))`.

    Args:
        result: of a `render(..., thresholds=(1, 32, 128, 512))`.
        task: which of its tasks.
    """
    if not isinstance(result, RenderResult):
        raise TypeError(f"result={brief(repr(result), 80)} must be the RenderResult of a render.")
    task = check_int(task, "task", low=0, high=len(result.images) - 1)
    if not result.snapshots:
        raise ValueError("result has no snapshots: render with thresholds=(1, 32, 128, 512).")
    steps = sorted(result.snapshots)
    return np.stack([result.snapshots[step][task, 0] for step in steps]), [f"step {step}" for step in steps]
