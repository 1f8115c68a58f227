"""Runs the tasks of one structure through one compiled program, in batches that fit into memory."""

import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import _step
from jaxlens.optvis.render._arguments import own_devices
from jaxlens.optvis.render._batch_size import batches, largest, layout, out_of_memory, room
from jaxlens.optvis.render._loop import Job, run_batch
from jaxlens.optvis.render._result import RenderResult
from jaxlens.optvis.render._task import Task

_fold = jax.jit(jax.vmap(jax.random.fold_in))


@dataclasses.dataclass(frozen=True)
class Tasks:
    """The tasks of one structure.

    Attributes:
        work: their objectives and keys, with a leading axis; an `Each` holds one parameterization
            for every task of the whole render.
        places: of the tasks in the whole render.
        shown: what each task shows.
    """

    work: _step.Work
    places: list[int]
    shown: list[Task]

    def take(self, rows: Sequence[int]) -> _step.Work:
        """Return the work of some tasks."""
        work, index = self.work, np.asarray(rows)
        param = work.param.take([self.places[i] for i in rows]) if isinstance(work.param, Each) else work.param
        objective = jax.tree.map(lambda leaf: leaf[index], work.objective)
        return dataclasses.replace(work, param=param, objective=objective, keys=work.keys[index])

    def on(self, mesh: Any, devices: Sequence[Any]) -> "Tasks":
        """Return the same tasks with the model's weights on the devices of a batch.

        They stay where they are if neither they nor the devices are other than the default ones.
        """
        model = self.work.model
        if not own_devices(model) and devices[0] == jax.local_devices()[0]:
            return self
        model = jax.device_put(model, devices[0] if mesh is None else NamedSharding(mesh, PartitionSpec()))
        return dataclasses.replace(self, work=dataclasses.replace(self.work, model=model))


def keys_of(objective: Any, places: Sequence[int], base: Array, ids: Sequence[int] | None) -> Array:
    """Return one key per task, from its base key and its id; default: a hash of its objective."""
    own = [_task_id(objective, i) if ids is None else ids[place] for i, place in enumerate(places)]
    return _fold(base[np.asarray(places)], np.asarray(own, np.uint32))


def _task_id(objective: Any, task: int) -> int:
    """Return a hash of a task's own objective alone: its layers and the values of its leaves."""
    content = "|".join(objective.layers).encode()
    for leaf in jax.tree.leaves(objective):
        content += np.ascontiguousarray(leaf[task]).tobytes()
    return zlib.crc32(content)


def run_tasks(
    job: Job, tasks: Tasks, most: int, devices: Sequence[Any], limit: Any, check: bool
) -> Iterator[tuple[RenderResult, list[int], bool]]:
    """Render all tasks, at most `most` together.

    Yield results, their places, and whether Ctrl-C ended them.

    A batch is made smaller where the compiled step would not fit into the memory (if `check`), and
    where memory runs out all the same: then that batch begins again, halved.
    """
    left = list(range(len(tasks.places)))
    while left:
        mesh, size = layout(len(left), most, devices)
        least = 1 if mesh is None else mesh.size
        job = dataclasses.replace(job, spec=dataclasses.replace(job.spec, mesh=mesh))
        tasks = tasks.on(mesh, devices)
        if check:
            needs = partial(_needs, job, tasks, left)
            size = largest(size, least, needs, partial(room, limit, devices[:least]))
        for rows in batches(left, size):
            done = list(dict.fromkeys(rows))
            places = [tasks.places[i] for i in done]
            try:
                part, interrupted = run_batch(job, tasks.take(rows), places, [tasks.shown[i] for i in rows])
            except Exception as error:
                if size <= least or not out_of_memory(error):
                    raise
                most = max(size // 2, 1)
                break
            yield part, places, interrupted
            left = left[len(done) :]


def _needs(job: Job, tasks: Tasks, left: list[int], size: int) -> int:
    """Return the bytes that a step of `size` of the tasks left needs."""
    return _step.memory(job.spec, tasks.take(batches(left, size)[0]))
