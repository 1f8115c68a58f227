"""The record of a training run, epoch by epoch."""

import dataclasses


@dataclasses.dataclass
class History:
    """Record of a training run: one entry per epoch in each list.

    Attributes:
        train_loss: mean cross-entropy in nats over the epoch, while the weights changed, with
            augmentation and dropout.
        train_accuracy: accuracy in [0, 1] over the epoch, likewise. (The tutorial that
            `train_model` follows gives percentages.)
        val_loss: mean cross-entropy on the validation batches; empty without them.
        val_accuracy: accuracy on the validation batches; empty without them.
        seconds: the time that each epoch took.

    Example:
        >>> from jaxlens.training import History
        >>> history = History(train_loss=[2.1, 1.4], train_accuracy=[0.2, 0.6])
        >>> len(history), history.train_loss[-1]
        (2, 1.4)
    """

    train_loss: list[float] = dataclasses.field(default_factory=list)
    train_accuracy: list[float] = dataclasses.field(default_factory=list)
    val_loss: list[float] = dataclasses.field(default_factory=list)
    val_accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.train_loss)
