"""What happened during training, epoch by epoch."""

import dataclasses


@dataclasses.dataclass
class History:
    """One entry per epoch in each list.

    Losses are mean cross-entropies in nats; accuracies fractions in [0, 1] (the tutorial this follows gives per cent).
    The training figures are means over the epoch, while the weights were moving, with augmentation and dropout.
    `val_loss` and `val_accuracy` are empty if there was nothing to validate on. `seconds` is the time of each epoch.
    """

    train_loss: list[float] = dataclasses.field(default_factory=list)
    train_accuracy: list[float] = dataclasses.field(default_factory=list)
    val_loss: list[float] = dataclasses.field(default_factory=list)
    val_accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.train_loss)
