"""The tasks of one structure: batch by batch through one compiled program, in as much memory as there is."""

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
from jaxlens.optvis.render import _program
from jaxlens.optvis.render._arguments import own_devices
from jaxlens.optvis.render._batch import batches, largest, layout, out_of_memory, room
from jaxlens.optvis.render._loop import Job, run_batch
from jaxlens.optvis.render._result import RenderResult

_fold = jax.jit(jax.vmap(jax.random.fold_in))


@dataclasses.dataclass(frozen=True)
class Tasks:
    """Objectives of one structure, stacked, with what each of them draws from.

    Attributes:
        objective: with a leading axis for the tasks.
        places: of the tasks in the whole render.
        keys: one per task.
        param: for all, or an `Each` with one for every task of the whole render.
    """

    objective: Any
    places: list[int]
    keys: Array
    param: Any

    def take(self, rows: Sequence[int]) -> tuple[Any, Any, Array]:
        """The parameterization, objective and keys of some."""
        param = self.param.take([self.places[i] for i in rows]) if isinstance(self.param, Each) else self.param
        index = np.asarray(rows)
        return param, jax.tree.map(lambda leaf: leaf[index], self.objective), self.keys[index]


def keys_of(objective: Any, places: Sequence[int], base: Array, ids: Sequence[int] | None) -> Array:
    """One key per task, from its base key and its own id; by default a number that depends on its own objective alone."""
    own = [_task_id(objective, i) if ids is None else ids[place] for i, place in enumerate(places)]
    return _fold(base[np.asarray(places)], np.asarray(own, np.uint32))


def _task_id(objective: Any, task: int) -> int:
    """A number that depends on a task's own objective alone: its layers and the values of its leaves."""
    content = "|".join(objective.layers).encode()
    for leaf in jax.tree.leaves(objective):
        content += np.ascontiguousarray(leaf[task]).tobytes()
    return zlib.crc32(content)


def run_tasks(
    job: Job, tasks: Tasks, most: int, devices: Sequence[Any], limit: Any, check: bool
) -> Iterator[tuple[RenderResult, list[int], bool]]:
    """Renders all tasks, at most so many together; yields results, their places, and whether Ctrl-C ended them.

    A batch is made smaller where the compiled step would not fit into the memory (if `check`), and where memory runs out all
    the same: then that batch begins again, halved.
    """
    left = list(range(len(tasks.places)))
    while left:
        mesh, size = layout(len(left), most, devices)
        least = 1 if mesh is None else mesh.size
        program = dataclasses.replace(job.program, mesh=mesh)
        job = dataclasses.replace(job, program=program, model=on_devices(job.model, mesh, devices))
        if check:
            needs = partial(_needs, job, tasks, left)
            size = largest(size, least, needs, partial(room, limit, devices[:least]))
        for rows in batches(left, size):
            done = list(dict.fromkeys(rows))
            try:
                param, objective, keys = tasks.take(rows)
                names = [tasks.objective.describe(i) for i in rows]
                places = [tasks.places[i] for i in done]
                part, interrupted = run_batch(dataclasses.replace(job, param=param), objective, keys, names, places)
            except Exception as error:
                if size <= least or not out_of_memory(error):
                    raise
                most = max(size // 2, 1)
                break
            yield part, places, interrupted
            left = left[len(done) :]


def on_devices(model: Any, mesh: Any, devices: Sequence[Any]) -> Any:
    """The model with its weights on the devices of a batch, where they or the devices are not the usual ones."""
    if not own_devices(model) and devices[0] == jax.local_devices()[0]:
        return model
    return jax.device_put(model, devices[0] if mesh is None else NamedSharding(mesh, PartitionSpec()))


def _needs(job: Job, tasks: Tasks, left: list[int], size: int) -> int:
    """Bytes that a step of so many of the tasks left needs."""
    param, objective, keys = tasks.take(batches(left, size)[0])
    return _program.memory(job.program, job.model, param, job.transforms, objective, keys)
