"""Curves of a training run."""

from typing import Any

from jaxlens._checks import shortened
from jaxlens.training import History


def training_curves(history: History, *, title: str = "") -> Any:
    """Draw loss and accuracy by epoch, for training and validation.

    Args:
        history: what `train_model` returned.
        title: a line above both.

    Returns: a matplotlib figure; `.savefig("training.png")` writes it.

    Example:
        >>> from jaxlens import plot, training
        >>> history = training.History(train_loss=[2.3, 1.1], train_accuracy=[0.1, 0.6])
        >>> plot.training_curves(history, title="simple_cnn").savefig("training.png")
    """
    if not isinstance(history, History):
        raise TypeError(f"history={shortened(history)} must be a training.History, which `train_model` returned.")
    from matplotlib.figure import Figure  # slow to import, and the command line does without

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    figure.suptitle(title)
    epochs = range(1, len(history) + 1)
    for axes, what, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), (" in nats", ""), strict=True):
        for split in ("train", "val"):
            values = getattr(history, f"{split}_{what}")
            if values:
                axes.plot(epochs, values, marker=".", label={"train": "training", "val": "validation"}[split])
        axes.set(xlabel="epoch", ylabel=what + unit)
        axes.legend()
    return figure
