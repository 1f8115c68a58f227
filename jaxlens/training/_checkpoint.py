"""Checkpoints of a training run, with orbax."""

import dataclasses
import os
from typing import Any

import jax

from jaxlens._checks import check_path
from jaxlens._package import optional
from jaxlens.training._history import History


class Checkpoints:
    """The last finished epoch of a run: its state and its history, complete or absent.

    Args:
        folder: the folder; it is created if it does not exist.
        settings: the settings of the run. The folder of a run with others is refused.
    """

    def __init__(self, folder: Any, settings: dict[str, Any]):
        ocp = _orbax()
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(os.path.abspath(check_path(folder, "checkpoint")), options=options)
        self._settings, self._folder = settings, folder

    def save(self, state: Any, history: History) -> None:
        """Write the state after the epochs in `history`, then remove the one before."""
        ocp = _orbax()
        about = {"settings": self._settings, "history": dataclasses.asdict(history)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        self._manager.save(len(history), args=args)

    def latest(self, state: Any) -> tuple[Any, History] | None:
        """Return the last saved state, in the form of `state`, and its history, or None."""
        ocp, step = _orbax(), self._manager.latest_step()
        if step is None:
            return None
        about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        if about["settings"] != self._settings:
            raise ValueError(
                f"checkpoint={str(self._folder)!r} holds another run: {about['settings']}, and this one is {self._settings}. "
                "Name another folder, or delete that one to start anew."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=args)["state"], History(**about["history"])

    def close(self) -> None:
        """End the threads of orbax."""
        self._manager.close()


def _orbax() -> Any:
    """Import orbax, which takes a second, only for checkpoints."""
    return optional("orbax.checkpoint", "Checkpoints need orbax", "train")
