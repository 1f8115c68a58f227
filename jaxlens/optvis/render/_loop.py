"""Drives the compiled step over one batch of tasks: progress, snapshots, interruption."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._interrupt import deferred_interrupt
from jaxlens.model.rules import redirected
from jaxlens.optvis.render import _program
from jaxlens.optvis.render._result import RenderResult

# Steps sent ahead of the last one whose scores have arrived. The device never waits for Python,
# Python never runs far ahead, and reading a score costs no synchronisation.
AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback of `render` sees after each step of a batch of tasks.

    Attributes:
        step: steps done, from 1.
        steps: steps in all.
        tasks: which tasks the batch holds, as positions in the whole render.
        scores: float32, one per task, at this step before its update.
    """

    step: int
    steps: int
    tasks: tuple[int, ...]
    scores: np.ndarray
    _images: Callable[[], np.ndarray] = dataclasses.field(repr=False)

    def images(self) -> np.ndarray:
        """The images now, `[tasks, B, H, W, 3]`; computed when called."""
        return self._images()


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything a batch needs that all batches of a render share."""

    program: _program.Program
    model: Any
    param: Any
    transforms: Any
    steps: int
    wake_steps: int
    thresholds: tuple[int, ...]
    callback: Callable[[Progress], Any] | None
    advance: Callable[[int, np.ndarray], None]


def run_batch(
    job: Job, objective: Any, keys: jax.Array, names: Sequence[str], tasks: Sequence[int]
) -> tuple[RenderResult, bool]:
    """Renders one batch; the tasks after the first `len(tasks)` are padding and are dropped.

    Ctrl-C, or a callback that returns True, ends it early with what there is. Also returns whether it was Ctrl-C.
    """
    with deferred_interrupt() as pressed:
        return _run(job, objective, keys, names, tasks, pressed)


def _run(
    job: Job, objective: Any, keys: jax.Array, names: Sequence[str], tasks: Sequence[int], pressed: Callable[[], bool]
) -> tuple[RenderResult, bool]:
    began, count = time.perf_counter(), len(tasks)
    state = _program.start(job.program, job.param, keys)
    memory = _program.blank_memory(job.program, job.model, job.param, job.transforms, objective, keys)
    state = dataclasses.replace(state, memory=memory)
    layers = [layer for layer in objective.layers if layer != "input"]
    scores: list[np.ndarray] = []
    snapshots: dict[int, Any] = {}
    waiting: deque[Any] = deque()
    finished, interrupted = True, False

    def images() -> np.ndarray:
        return np.asarray(_program.decode(job.param, state.theta))[:count]

    def receive() -> bool:
        scores.append(np.asarray(waiting.popleft())[:count])
        job.advance(count, scores[-1])
        if job.callback is None:
            return False
        return bool(job.callback(Progress(len(scores), job.steps, tuple(tasks), scores[-1], images)))

    try:
        for number in range(job.steps):
            rest = (job.param, job.transforms, jnp.uint32(number), objective, keys)
            before = _program.copy(state) if number < job.wake_steps else None
            state, value, dead = _program.step(job.program, job.model, *rest, state)
            # A second program, compiled when the first dead task is met: the same step with Lucid's redirected gradient.
            if before is not None and np.asarray(dead).any() and job.model.accepts_rule(redirected(), layers):
                woken, _, _ = _program.step(job.program, job.model.with_gradient_rule(redirected()), *rest, before)
                state = _program.choose(dead, woken, state)
            waiting.append(value)
            if number + 1 in job.thresholds:
                snapshots[number + 1] = _program.decode(job.param, state.theta)
            stop = False
            if pressed():
                finished, interrupted = False, True
                break
            while len(waiting) > (0 if job.callback else AHEAD):
                stop |= receive()
            if stop:
                finished = number + 1 == job.steps
                break
        while waiting:
            receive()
    except KeyboardInterrupt:
        finished, interrupted = False, True
    failed_at = np.asarray(state.failed_at)[:count]
    history = np.stack(scores, axis=1) if scores else np.zeros((count, 0), np.float32)
    result = RenderResult(
        images=images(),
        scores=history,
        names=tuple(names[:count]),
        failed_at=failed_at,
        finished=finished,
        snapshots={t: np.asarray(s)[:count] for t, s in snapshots.items()},
        seconds=time.perf_counter() - began,
        theta=jax.tree.map(lambda leaf: np.asarray(leaf)[:count], state.theta),
        importance=None if state.importance is None else np.asarray(state.importance)[:count],
    )
    return result, interrupted
