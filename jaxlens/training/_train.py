"""`train_model`: a short training loop for small networks."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tqdm import tqdm

from jaxlens._checks import check_flag, check_images, check_int, check_number, one_line
from jaxlens._types import Flag, Number, Whole
from jaxlens.model import IMAGENET
from jaxlens.training._checkpoint import Checkpoints
from jaxlens.training._conv import conv_general_dilated
from jaxlens.training._history import History

_EPOCHS = 10**6


@runtime_checkable
class Epochs(Protocol):
    """Batches that differ from epoch to epoch, such as a loader of `jaxlens.data`."""

    def __len__(self) -> int: ...

    def epoch(self, number: int, /) -> Iterable[tuple[Any, Any]]:
        """Return the batches of one epoch."""
        ...


if TYPE_CHECKING:
    import os

    class Repeated(Protocol):
        """The same batches in every epoch."""

        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[tuple[Any, Any]]: ...

    Module = nnx.Module
    Training = Epochs | Repeated
    Batches = Iterable[tuple[Any, Any]]
    Optimizer = optax.GradientTransformation
    Preprocessing = Callable[[Any], jax.Array]
    Folder = str | os.PathLike[str]
else:  # checked by hand: an error of ours says what to do
    Module = Training = Batches = Optimizer = Preprocessing = Folder = Any


def train_model(
    model: Module,
    train: Training,
    val: Batches | None = None,
    epochs: Whole = 5,
    *,
    learning_rate: Number = 1e-3,
    optimizer: Optimizer | None = None,
    preprocess: Preprocessing = IMAGENET,
    mixed_precision: Flag = False,
    checkpoint: Folder | None = None,
    progress: Flag = True,
) -> History:
    """Train a classifier in place and return its history.

    Minimizes the mean cross-entropy with Adam. The learning rate rises for a twentieth of the
    steps and then falls along a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
    The run is a function of the initial weights of the model, of its `nnx.Rngs`, and of the data:
    the same inputs give the same history.

    Differs from the tutorial's `train_model`: it has seeds, a schedule and checkpoints, and
    accuracies are fractions.

    Args:
        model: an NNX module, `model(images) -> logits [B, classes]`. On return it is in
            evaluation mode.
        train: batches `(images, labels)`: float images `[B, H, W, 3]` in [0, 1], integer labels
            `[B]`. It has a length. If it has a method `epoch(n)`, as the loaders of
            `jaxlens.data` do, that gives the batches of epoch n; otherwise it is iterated for
            every epoch.
        val: batches to validate on after each epoch, or None.
        epochs: how many passes over `train`.
        learning_rate: the highest learning rate. Ignored if `optimizer` is given.
        optimizer: any optax transformation, with its own schedule.
        preprocess: maps images in [0, 1] to the input of the network. Give the same to its
            `jaxlens.Model`.
        mixed_precision: compute in bfloat16, with float32 weights, statistics and loss. Faster on
            accelerators, but not on most CPUs.
        checkpoint: a folder for the state after each epoch. A run that was killed continues from
            there, with the same history as without the interruption. A finished run returns at
            once.
        progress: show a progress bar.

    Returns:
        The `History` of the run. Ctrl-C raises `KeyboardInterrupt` and leaves the model as it was
        after the last finished epoch.

    Raises:
        ValueError: if there are no batches, the checkpoint is of another run, or a number is out of
            its range; if images are not in [0, 1], or labels are not one integer per image.
        TypeError: if the model is no NNX module, or data, optimizer or preprocess are of another
            kind; if images are not floats.
        FloatingPointError: if the loss is no longer finite, or a label has no output.

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxlens.training import train_model
        >>> class Classifier(nnx.Module):
        ...     def __init__(self, rngs):
        ...         self.fc = nnx.Linear(3, 2, rngs=rngs)
        ...     def __call__(self, images):
        ...         return self.fc(images.mean((1, 2)))  # of the mean color
        >>> images = np.full((8, 24, 32, 3), 0.5, np.float32)
        >>> batches = [(images, np.arange(8) % 2)]
        >>> history = train_model(Classifier(nnx.Rngs(0)), batches, epochs=2, progress=False)
        >>> len(history), history.val_loss
        (2, [])
    """
    _require_module(model)
    _require_function(preprocess)
    epochs, learning_rate = check_int(epochs, "epochs", low=1), check_number(learning_rate, "learning_rate", above=0)
    mixed_precision, progress = check_flag(mixed_precision, "mixed_precision"), check_flag(progress, "progress")
    if epochs > _EPOCHS:
        raise ValueError(f"epochs={epochs} would never end: give at most {_EPOCHS}.")
    steps = _length(train)
    if val is not None and not isinstance(val, Iterable):
        raise TypeError(f"val={one_line(repr(val), 60)} must be batches (images, labels), or None.")
    if not (optimizer is None or (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None)))):
        raise TypeError(f"optimizer={one_line(repr(optimizer), 60)} must be an optax transformation, such as optax.adam(1e-3).")
    if optimizer is None:
        warm = max(1, epochs * steps // 20)
        optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, learning_rate, warm, max(epochs * steps, warm + 1)))
    model.train()
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    state = (params, rest, optimizer.init(params))
    step = jax.jit(functools.partial(_step, graphdef, optimizer, preprocess, mixed_precision), donate_argnums=0)
    # the compiled step may reuse the memory of its arguments: the model keeps its own
    state, history = jax.tree.map(jnp.copy, state), History()
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if checkpoint is not None:
            settings = {"epochs": epochs, "steps": steps, "learning_rate": learning_rate, "mixed_precision": mixed_precision}
            checkpoints = Checkpoints(checkpoint, settings)
            stack.callback(checkpoints.close)
            if (found := checkpoints.latest(state)) is not None:
                state, history = found
        stack.callback(model.eval)
        if len(history):
            nnx.update(model, *jax.tree.map(jnp.copy, state[:2]))
        bar = stack.enter_context(tqdm(total=epochs * steps, unit="step", disable=not progress, dynamic_ncols=True))
        bar.update(len(history) * steps)
        for epoch in range(len(history), epochs):
            began = time.perf_counter()
            state, loss, accuracy = _epoch(step, state, _batches(train, epoch), epoch, bar)
            nnx.update(model, *jax.tree.map(jnp.copy, state[:2]))
            history.train_loss.append(loss)
            history.train_accuracy.append(accuracy)
            if val is not None:
                loss, accuracy = evaluate(model, val, preprocess)
                history.val_loss.append(loss)
                history.val_accuracy.append(accuracy)
                bar.set_postfix_str(f"val loss {loss:.3f}, accuracy {accuracy:.3f}")
            history.seconds.append(time.perf_counter() - began)
            if checkpoints is not None:
                checkpoints.save(state, history)
    return history


def evaluate(model: Module, batches: Batches, preprocess: Preprocessing = IMAGENET) -> tuple[float, float]:
    """Return mean cross-entropy in nats and accuracy in [0, 1] of a classifier over batches.

    The model runs in evaluation mode, whatever mode it is in.

    Args:
        model: an NNX module, `model(images) -> logits [B, classes]`.
        batches: pairs `(images, labels)`: float images `[B, H, W, 3]` in [0, 1], integer labels
            `[B]`.
        preprocess: maps images in [0, 1] to the input of the network.

    Example:
        >>> import numpy as np
        >>> from jaxlens import modelzoo
        >>> from jaxlens.training import evaluate
        >>> images = np.full((2, 24, 32, 3), 0.5, np.float32)
        >>> loss, accuracy = evaluate(modelzoo.simple_cnn(), [(images, np.array([0, 1]))])
        >>> accuracy in (0.0, 0.5, 1.0)
        True
    """
    _require_module(model)
    _require_function(preprocess)
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches={one_line(repr(batches), 60)} must be batches (images, labels).")
    copy = nnx.merge(*nnx.split(model))
    copy.eval()
    graphdef, state = nnx.split(copy)
    total, right, count = 0.0, 0, 0
    for batch in batches:
        images, labels = _checked(batch)
        loss, hits = _judge(graphdef, preprocess, state, images, labels)
        total, right, count = total + float(loss), right + int(hits), count + len(labels)
    if not count:
        raise ValueError("val has no batches.")
    if not np.isfinite(total):
        raise FloatingPointError(f"The loss is {total}: a label is beyond the model's outputs, or its weights are not finite.")
    return total / count, right / count


def _epoch(step: Any, state: Any, batches: Iterable[Any], epoch: int, bar: tqdm) -> tuple[Any, float, float]:
    losses, hits, seen = [], [], 0
    for batch in batches:
        images, labels = _checked(batch)
        state, loss, right = step(state, images, labels)
        losses.append(loss)
        hits.append(right)
        seen += len(labels)
        bar.update()
    values = np.asarray(jax.device_get(losses))
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise FloatingPointError(
            f"The loss is {values[first]} at step {first} of epoch {epoch}: a label is beyond the model's outputs, or the "
            "learning rate is too high."
        )
    return state, float(values.mean()), float(np.sum(jax.device_get(hits))) / seen


def _step(
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    preprocess: Callable[[jax.Array], jax.Array],
    mixed: bool,
    state: Any,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[Any, jax.Array, jax.Array]:
    params, rest, moments = state
    images = preprocess(images).astype(jnp.bfloat16 if mixed else jnp.float32)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
        low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params) if mixed else params
        module = nnx.merge(graphdef, low, rest, copy=True)
        for _, layer in nnx.iter_modules(module):
            if isinstance(layer, nnx.Conv):
                layer.conv_general_dilated = conv_general_dilated
        logits = module(images).astype(jnp.float32)
        loss = _cross_entropy(logits, labels).mean()
        return loss, (nnx.state(module, nnx.Not(nnx.Param)), (logits.argmax(-1) == labels).sum())

    (loss, (rest, right)), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
    updates, moments = optimizer.update(gradient, moments, params)
    return (optax.apply_updates(params, updates), rest, moments), loss, right


@functools.partial(jax.jit, static_argnums=(0, 1))
def _judge(
    graphdef: Any, preprocess: Callable[[jax.Array], jax.Array], state: Any, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    logits = nnx.merge(graphdef, state)(preprocess(images))
    return _cross_entropy(logits, labels).sum(), (logits.argmax(-1) == labels).sum()


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return one loss per example; NaN for a label without output, which a gather would clamp."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where((labels >= 0) & (labels < logits.shape[-1]), loss, jnp.nan)


def _require_module(model: Any) -> None:
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model={type(model).__name__} must be a flax.nnx.Module, such as jaxlens.modelzoo.simple_cnn().")


def _require_function(preprocess: Any) -> None:
    if not callable(preprocess):
        raise TypeError(f"preprocess={one_line(repr(preprocess), 60)} must be a function of images.")


def _checked(batch: Any) -> tuple[jax.Array, np.ndarray]:
    """Return images that are floats in [0, 1] and as many integer labels, or raise."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"each batch of train, val and batches must be a pair (images, labels), but one is {type(batch).__name__}."
        )
    images, labels = check_images(batch[0], channels=None), np.asarray(batch[1])
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers [B], one per image, but have dtype {labels.dtype} and shape {labels.shape} for "
            f"{len(images)} images."
        )
    return images, labels.astype(np.int32)


def _length(train: Any) -> int:
    try:
        steps = len(train)
    except TypeError as error:
        raise TypeError(f"train={type(train).__name__} must have a length: the number of batches of an epoch.") from error
    if isinstance(train, str | bytes | dict):
        raise TypeError(f"train={type(train).__name__} must be batches (images, labels).")
    if not steps:
        raise ValueError("train has no batches: fewer images than one batch holds? Lower the batch size.")
    return steps


def _batches(train: Any, epoch: int) -> Iterable[Any]:
    return train.epoch(epoch) if isinstance(train, Epochs) else train
