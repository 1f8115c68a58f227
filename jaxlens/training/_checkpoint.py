"""Checkpoints of a training run, with orbax."""

import dataclasses
import os
from typing import Any

import jax

from jaxlens._checks import check_path
from jaxlens._package import optional
from jaxlens.training._history import History


class Checkpoints:
    """The last finished epoch of a run: its state and its history, whole or not there.

    Args:
        folder: made if it is not there.
        settings: what the run depends on; a folder of another run is refused.
    """

    def __init__(self, folder: Any, settings: dict[str, Any]):
        ocp = _orbax()
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(os.path.abspath(check_path(folder, "checkpoint")), options=options)
        self._settings, self._folder = settings, folder

    def save(self, state: Any, history: History) -> None:
        """Writes the state after as many epochs as `history` holds; the one before is removed then."""
        ocp = _orbax()
        about = {"settings": self._settings, "history": dataclasses.asdict(history)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about))
        self._manager.save(len(history), args=args)

    def latest(self, state: Any) -> tuple[Any, History] | None:
        """The last state saved, in the form of `state`, and its history; None at the beginning of a run."""
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
        """Ends orbax' threads."""
        self._manager.close()


def _orbax() -> Any:
    """Orbax, which takes a second to import, when a checkpoint is wanted."""
    return optional("orbax.checkpoint", "Checkpoints need orbax", "train")
