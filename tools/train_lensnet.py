"""`jaxlens/modelzoo/weights/lensnet.*`: train the bundled network, `python -m tools.train_lensnet`.

It writes the weights and the record of the run into the package, from which
`modelzoo.load("lensnet")` reads them. It takes less than an hour on two CPU cores. A run that was
cut off goes on from its last epoch.
"""

import dataclasses
import functools
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import click
import grain
import jax
import numpy as np
import optax
from flax import nnx

from jaxlens import Model, _params, modelzoo
from jaxlens.data import synthetic
from jaxlens.modelzoo.lensnet import PREPROCESS, LensNet
from jaxlens.training import History, train_model
from tools import _lensnet_evidence

CLASSES = len(synthetic.CLASSES)
PER_CLASS = 16  # pictures of each class that are drawn, and shuffled, together
EPOCHS, CHUNKS = 12, 16
VALIDATION_SEED, TEST_SEED = 1_000_000, 2_000_000
PACKAGE = Path(str(resources.files(modelzoo))) / "weights"
RATE, DECAY = 4e-3, 0.02  # of AdamW: Loshchilov and Hutter 2019, arXiv:1711.05101


class Stream:
    """Batches of fresh pictures, equally many of every class, never the same picture twice.

    Args:
        seed: The seed of all pictures.
        chunks: Chunks per epoch. Each has `PER_CLASS` pictures of every class, in as many batches.
        size: The side of the pictures.
    """

    def __init__(self, seed: int, chunks: int, size: int = 64):
        self.key, self.chunks, self.size = jax.random.key(seed), chunks, size

    def __len__(self) -> int:
        return self.chunks * PER_CLASS

    def epoch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches of one epoch. A thread draws ahead."""
        first = number * self.chunks
        chunks = grain.MapDataset.range(first, first + self.chunks).map(self._chunk)
        for images, labels in chunks.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)):
            yield from zip(np.split(images, PER_CLASS), np.split(labels, PER_CLASS), strict=True)

    def _chunk(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        pictures, order = jax.random.split(jax.random.fold_in(self.key, index))
        labels = np.repeat(np.arange(CLASSES), PER_CLASS)[np.asarray(jax.random.permutation(order, CLASSES * PER_CLASS))]
        drawn = synthetic.generate(pictures, labels, self.size)
        return drawn.images, drawn.labels


class ConvNorm(nnx.Module):
    """A convolution and the batch norm that `fold` puts into it."""

    def __init__(self, cin: int, cout: int, size: int, stride: int = 1, padding: str = "SAME", *, rngs: nnx.Rngs):
        init = nnx.initializers.he_normal()
        self.conv = nnx.Conv(cin, cout, (size, size), stride, padding=padding, use_bias=False, kernel_init=init, rngs=rngs)
        self.norm = nnx.BatchNorm(cout, momentum=0.95, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve and normalize."""
        return self.norm(self.conv(x))

    def fold(self) -> dict[str, jax.Array]:
        """Return kernel and bias of the one convolution that does the same at inference."""
        norm: Any = self.norm
        gain = norm.scale[...] * jax.lax.rsqrt(norm.var[...] + norm.epsilon)
        return {
            "kernel": self.conv.kernel[...] * gain.reshape(1, 1, 1, -1),
            "bias": norm.bias[...] - norm.mean[...] * gain,
        }


def trainable(seed: int) -> LensNet:
    """Return lensnet with batch norms and fresh weights."""
    rngs = nnx.Rngs(seed)
    network = LensNet(make=functools.partial(ConvNorm, rngs=rngs))
    shape = network.softmax2_pre_activation_matmul.kernel.shape
    network.softmax2_pre_activation_matmul = nnx.Linear(*shape, rngs=rngs)  # with an initialisation  # pyright: ignore
    return network


def folded(network: LensNet) -> dict[str, np.ndarray]:
    """Return the parameters of `modelzoo`'s lensnet, by name."""
    found = {}
    for path, layer in nnx.iter_modules(network):
        if isinstance(layer, ConvNorm):
            found |= {".".join([*map(str, path), name]): value for name, value in layer.fold().items()}
    head = network.softmax2_pre_activation_matmul
    found |= {f"softmax2_pre_activation_matmul.{name}": getattr(head, name)[...] for name in ("kernel", "bias")}
    return {name: np.asarray(value) for name, value in found.items()}


def train(
    folder: Path, *, seed: int = 0, epochs: int = EPOCHS, chunks: int = CHUNKS, progress: bool = True
) -> tuple[LensNet, History]:
    """Train lensnet, and return it with its batch norms and its history.

    The state after each epoch stays in `folder`.
    """
    network, stream = trainable(seed), Stream(seed, chunks)
    steps = epochs * len(stream)
    rate = optax.warmup_cosine_decay_schedule(0.0, RATE, steps // 20, steps)
    optimizer = optax.adamw(rate, weight_decay=DECAY)
    val = list(Stream(VALIDATION_SEED, 1).epoch(0))
    options = {"preprocess": PREPROCESS, "checkpoint": folder, "progress": progress}
    return network, train_model(network, stream, val, epochs, optimizer=optimizer, **options)


def evidence(model: Model) -> dict[str, Any]:
    """Return in numbers what the network has learned; see `_lensnet_evidence`."""
    curves, boundaries = _lensnet_evidence.curve_units(model), _lensnet_evidence.high_low_units(model)
    return {
        "accuracy": _lensnet_evidence.accuracy(model, TEST_SEED),
        "curve_orientation_error": _lensnet_evidence.orientation_error(model, "curve"),
        "bar_orientation_error": _lensnet_evidence.orientation_error(model, "bar"),
        "curve_units": [dataclasses.asdict(unit) for unit in curves],
        "high_low_units": [dataclasses.asdict(unit) for unit in boundaries],
    }


def sha256(file: Path) -> str:
    """Return the digest by which the record names the weights."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=PACKAGE, help="Folder for weights and record.  [default: the package]"
)
@click.option(
    "--checkpoints", type=click.Path(path_type=Path), help="Folder for the state of the run.  [default: in the cache]"
)
@click.option("--seed", default=0, show_default=True, help="Of weights and pictures.")
@click.option("--epochs", default=EPOCHS, show_default=True)
@click.option("--chunks", default=CHUNKS, show_default=True, help=f"Of {PER_CLASS} pictures per class, in each epoch.")
def main(out: Path, checkpoints: Path | None, seed: int, epochs: int, chunks: int) -> None:
    """Train lensnet, measure it, and write OUT/lensnet.safetensors and OUT/lensnet.json."""
    folder = checkpoints or modelzoo.cache_dir() / f"lensnet-{seed}-{epochs}x{chunks}"
    network, history = train(folder, seed=seed, epochs=epochs, chunks=chunks)
    half = {name: value.astype(np.float16) for name, value in folded(network).items()}
    _params.write(out / "lensnet.safetensors", half, {"model": "lensnet", "weights": "SYNTHETIC"})
    model = modelzoo.load("lensnet", out / "lensnet.safetensors")
    record = {
        "settings": {"seed": seed, "epochs": epochs, "chunks": chunks, "batch": CLASSES, "rate": RATE, "decay": DECAY},
        "images": epochs * chunks * PER_CLASS * CLASSES,
        "seconds": sum(history.seconds),
        "sha256": sha256(out / "lensnet.safetensors"),
        "history": dataclasses.asdict(history),
        "trained": evidence(model),
        "random weights": evidence(modelzoo.load("lensnet", None)),
        "classes": synthetic.CLASSES,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": {name: metadata.version(name) for name in ("jax", "flax", "optax", "grain", "numpy")},
    }
    (out / "lensnet.json").write_text(json.dumps(record, indent=1) + "\n")
    for name, found in record.items():
        if name in ("trained", "random weights"):
            counts = {key: len(value) if isinstance(value, list) else round(value, 4) for key, value in found.items()}
            click.echo(f"{name}: {counts}")
    click.echo(f"{record['seconds'] / 60:.1f} minutes of training -> {out / 'lensnet.safetensors'}")


if __name__ == "__main__":
    main()
