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
from jaxlens.optvis.render import _step
from jaxlens.optvis.render._result import RenderResult
from jaxlens.optvis.render._task import Task

# Steps sent ahead of the last one whose scores have arrived. The device never waits for Python,
# Python never runs far ahead, and reading a score costs no synchronization.
AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a callback of `render` sees after each step of a batch of tasks.

    Attributes:
        step: steps done, from 1.
        steps: steps in all.
        tasks: which tasks the batch holds, as positions in the whole render.
        scores: float32, one per task, at this step before its update.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> def report(progress):
        ...     print(progress.step, progress.tasks, progress.scores.shape, progress.images().shape)
        >>> result = render.render(
        ...     model, "conv1:3", size=(24, 32), steps=2, callback=report, progress=False)
        1 (0,) (1,) (1, 1, 24, 32, 3)
        2 (0,) (1,) (1, 1, 24, 32, 3)
    """

    step: int
    steps: int
    tasks: tuple[int, ...]
    scores: np.ndarray
    _images: Callable[[], np.ndarray] = dataclasses.field(repr=False)

    def images(self) -> np.ndarray:
        """Return the images now, `[tasks, B, H, W, 3]`; they are computed when this is called."""
        return self._images()


@dataclasses.dataclass(frozen=True)
class Job:
    """What all batches of a render share.

    Attributes:
        spec: what the step is compiled for.
        steps: number of updates.
        redirect_steps: first steps in which a task without any gradient takes the redirected one.
        thresholds: steps after which to keep a snapshot.
        callback: called after each step.
        advance: moves the progress bar, by a number of tasks and their scores.
    """

    spec: _step.StepSpec
    steps: int
    redirect_steps: int
    thresholds: tuple[int, ...]
    callback: Callable[[Progress], Any] | None
    advance: Callable[[int, np.ndarray], None]


def run_batch(job: Job, work: _step.Work, places: Sequence[int], tasks: Sequence[Task]) -> tuple[RenderResult, bool]:
    """Render one batch of `tasks`; those after the first `len(places)` are padding and are dropped.

    Ctrl-C, or a callback that returns True, ends it early with what there is. Also returns whether
    it was Ctrl-C.
    """
    with deferred_interrupt() as pressed:
        batch, finished, interrupted = _Batch(job, work, places), True, False
        try:
            for number in range(job.steps):
                batch.advance(number)
                if pressed():
                    finished, interrupted = False, True
                    break
                if batch.receive(0 if job.callback else AHEAD):
                    finished = number + 1 == job.steps
                    break
            batch.receive(0)
        except KeyboardInterrupt:
            finished, interrupted = False, True
        return batch.finish(tasks, finished), interrupted


class _Batch:
    """A batch on its way: its state on the devices, and the scores and snapshots so far."""

    def __init__(self, job: Job, work: _step.Work, places: Sequence[int]):
        self.began = time.perf_counter()
        self.job, self.work, self.places = job, work, tuple(places)
        self.state = _step.start(job.spec, work)
        self.layers = [layer for layer in work.objective.layers if layer != "input"]
        self.scores: list[np.ndarray] = []
        self.waiting: deque[Any] = deque()  # scores that may not have arrived
        self.snapshots: dict[int, Any] = {}

    def advance(self, number: int) -> None:
        """Send one step to the devices; wake dead tasks in the first `redirect_steps`."""
        job, spec, at = self.job, self.job.spec, jnp.uint32(number)
        before = _step.copy(self.state) if number < job.redirect_steps else None
        self.state, scores, dead = _step.step(spec, self.work, at, self.state)
        model = self.work.model
        # The same step with Lucid's redirected gradient: a second program, compiled when the first
        # dead task is met.
        if before is not None and np.asarray(dead).any() and model.accepts_rule(redirected(), self.layers):
            redirected_work = dataclasses.replace(self.work, model=model.with_gradient_rule(redirected()))
            woken, _, _ = _step.step(spec, redirected_work, at, before)
            self.state = _step.choose(dead, woken, self.state)
        self.waiting.append(scores)
        if number + 1 in job.thresholds:
            self.snapshots[number + 1] = _step.decode(self.work.param, self.state.theta)

    def receive(self, ahead: int) -> bool:
        """Take in the scores of all steps but the last `ahead`.

        Return whether the callback wants to stop.
        """
        stop = False
        while len(self.waiting) > ahead:
            self.scores.append(self.own(self.waiting.popleft()))
            self.job.advance(len(self.places), self.scores[-1])
            if self.job.callback is not None:
                shown = Progress(len(self.scores), self.job.steps, self.places, self.scores[-1], self.images)
                stop |= bool(self.job.callback(shown))
        return stop

    def finish(self, tasks: Sequence[Task], finished: bool) -> RenderResult:
        """Return what there is as a result."""
        count, state = len(self.places), self.state
        failed_at = self.own(state.failed_at)
        return RenderResult(
            images=self.images(),
            scores=np.stack(self.scores, axis=1) if self.scores else np.zeros((count, 0), np.float32),
            names=tuple(task.name for task in tasks[:count]),
            failed_at=failed_at,
            finished=finished,
            snapshots={step: self.own(images) for step, images in self.snapshots.items()},
            seconds=time.perf_counter() - self.began,
            theta=jax.tree.map(self.own, state.theta),
            importance=None if state.importance is None else self.own(state.importance),
            tasks=tuple(tasks[:count]),
        )

    def images(self) -> np.ndarray:
        """Return the images now."""
        return self.own(_step.decode(self.work.param, self.state.theta))

    def own(self, values: Any) -> np.ndarray:
        """Return the values of the batch's own tasks, without padding."""
        return np.asarray(values)[: len(self.places)]
