"""Layer by layer, against PyTorch in the same process: `python -m converters.parity NAME`."""

import dataclasses
import unittest.mock
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from converters import convert, read_state_dict
from jaxlens import modelzoo
from jaxlens.model import Model
from jaxlens.model._model import run
from jaxlens.modelzoo import inceptionv1
from jaxlens.modelzoo._registry import find

TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer: what it outputs for one image, and the largest difference, relative to the largest value in PyTorch."""

    name: str
    kind: str
    shape: tuple[int, ...]
    error: float


def reference(name: str, weights: str | Path | None = None, *, seed: int = 0, **options: Any) -> Any:
    """The PyTorch network of that name in evaluation mode: torchvision's, or Lucent's InceptionV1.

    Args:
        name: one of `modelzoo.names()`.
        weights: a state dict file; None for random weights and random batch-norm statistics, so that no mistake can hide.
        seed: of the random weights.
        **options: of the network, as `modelzoo.load` takes them.
    """
    import torch

    if find(name).weights[0].bundled:
        raise LookupError(f"{name} is not from PyTorch: there is nothing to compare it with.")
    with torch.device("meta"):  # no memory and no time for an initialisation that is replaced
        if name == "inceptionv1":
            from lucent.modelzoo import inceptionv1 as build

            module = build(pretrained=False, redirected_ReLU=False)
        else:
            from torchvision.models import get_model

            module = get_model(name, weights=None, **_torchvisions(name, options))
    module = module.to_empty(device="cpu").eval()
    if weights is None:
        _randomize(module, seed)
    else:
        module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in read_state_dict(weights).items()})
    return module


def _torchvisions(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Our options under torchvision's names, with the defaults that its builders change along with the weights."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False} | options
    if name == "maxvit_t" and "image_size" in options:
        size = options.pop("image_size")
        return {"input_size": (size, size)} | options
    return options


def _randomize(module: Any, seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            kind = key.rpartition(".")[2]
            if kind == "num_batches_tracked":
                tensor.zero_()
            elif not tensor.is_floating_point() or kind == "relative_coords_table":
                continue  # constants, computed below
            elif kind == "running_var" or (kind == "weight" and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:  # weights of He's variance; biases and running means of about 0.1
                bound = (6 / tensor[0].numel()) ** 0.5 if kind == "weight" else 0.2
                tensor.uniform_(-bound, bound, generator=generator)
    for child in module.modules():  # `to_empty` has lost the constants of Swin and MaxViT
        for define in ("define_relative_position_index", "define_relative_position_bias_table"):
            if hasattr(child, define) and (define.endswith("index") or "relative_coords_table" in child.state_dict()):
                getattr(child, define)()


def compare(module: Any, model: Model, images: jax.Array) -> list[Row]:
    """Runs both networks on the same images and compares every layer that PyTorch names.

    Args:
        module: the PyTorch network.
        model: ours, with the same weights.
        images: float32 `[B, H, W, 3]` in [0, 1]; the model's own preprocessing is applied for both.

    Returns: a row per layer in the order PyTorch runs them; the error of a layer that one side lacks, or that has
        another shape, is infinite.
    """
    theirs = _run_torch(module, np.asarray(model.preprocess(images)))
    names = tuple(name for name in theirs if name in model.layers)
    with jax.default_matmul_precision("highest"):
        # not jitted: one program with the 500 layers of a ResNet as outputs takes longer to compile than its operations do
        ours = run(model, images, names)
    rows = []
    for name, want in theirs.items():
        got = np.asarray(ours[name]) if name in ours else np.empty(0)
        if want.ndim >= 4 and want.shape != got.shape:  # most maps have channels first in PyTorch, Swin's have them last
            want = np.moveaxis(want, 1, -1)
        kind = model.layers[name].kind if name in model.layers else "missing"
        rows.append(Row(name, kind, got.shape[1:], _error(got, want)))
    return rows


def _error(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape:
        return float("inf")
    error = float(np.abs(got - want).max() / np.abs(want).max())
    return error if np.isfinite(error) else float("inf")


def _run_torch(module: Any, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What every named module of a PyTorch network outputs; `name@k` where one is called several times."""
    import torch

    calls: dict[str, list[np.ndarray]] = {}

    def hook(name: str) -> Any:
        def record(_module: Any, _inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output  # attention returns its weights too, or None
            calls.setdefault(name, []).append(value.numpy().copy())  # torchvision's ReLUs work in place

        return record

    handles = [child.register_forward_hook(hook(name)) for name, child in module.named_modules() if name]
    try:
        with torch.no_grad(), _pooling_any_size():
            module(torch.from_numpy(np.ascontiguousarray(np.moveaxis(inputs, -1, 1))))
    finally:
        for handle in handles:
            handle.remove()
    return {
        name if len(values) == 1 else f"{name}@{i}": value for name, values in calls.items() for i, value in enumerate(values)
    }


@contextmanager
def _pooling_any_size() -> Iterator[None]:
    """Lucent's head takes 7x7 maps only: whole maps are averaged instead, the same there. No other network has this call."""
    import torch.nn.functional as F

    with unittest.mock.patch.object(F, "avg_pool2d", lambda x, **_: x.mean((2, 3), keepdim=True)):
        yield


def report(
    name: str, weights: str | Path | None = None, *, size: tuple[int, int] = (64, 96), seed: int = 0, **options: Any
) -> list[Row]:
    """`compare` for a network of the zoo, with the same weights on both sides.

    InceptionV1 is given Lucent's constants of the local response normalisation, since its own differ on purpose
    (see `jaxlens.modelzoo.inceptionv1`); `size` should be a multiple of 32 for it, as Lucent's padding is for even sizes.
    A network for images of one size takes `image_size` (224 by default) and not `size`; Inception v3 needs 75 pixels.
    """
    if "image_size" in find(name).options:
        options.setdefault("image_size", 224)
        size = (options["image_size"],) * 2
    elif name == "inception_v3":
        size = (max(size[0], 75), max(size[1], 75))
    module = reference(name, weights, seed=seed, **options)
    lucents = name == "inceptionv1"
    network = inceptionv1.InceptionV1(lrn=inceptionv1.LUCENT_LRN) if lucents else modelzoo.architecture(name, **options)
    state_dict = {key: value.numpy() for key, value in module.state_dict().items()}
    model = Model.from_nnx(network, name=name, preprocess=find(name).weights[0].preprocess, input_size=size)
    model = model.replace(params=convert(state_dict, model))
    images = jax.random.uniform(jax.random.key(seed), (2, *size, 3))
    return compare(module, model, images)


def _size(_context: click.Context, _option: click.Option, value: str) -> tuple[int, int]:
    height, _, width = value.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise click.BadParameter(f"{value!r} must be HEIGHTxWIDTH, such as 64x96.")
    return int(height), int(width)


@click.command()
@click.argument("name")
@click.option("--weights", type=click.Path(path_type=Path), help="A torch state dict; random weights and statistics otherwise.")
@click.option("--size", default="64x96", show_default=True, callback=_size, help="HEIGHTxWIDTH of the images.")
@click.option("--seed", default=0, show_default=True, help="Of the images and the random weights.")
def main(name: str, weights: Path | None, size: tuple[int, int], seed: int) -> None:
    """Compares every layer of NAME with the PyTorch network, and prints a line for each.

    The error of a layer is the largest difference over the largest value in PyTorch. Exits with 1 if any is above 1e-4.
    """
    try:
        rows = report(name, weights, size=size, seed=seed)
    except (ValueError, LookupError, OSError, ImportError) as error:
        raise click.ClickException(str(error)) from error
    wide = max(len(row.name) for row in rows)
    for row in rows:
        flag = "" if row.error <= TOLERANCE else "  <-- differs"
        click.echo(f"{row.name:{wide}}  {row.kind:16}  {'x'.join(map(str, row.shape)):>16}  {row.error:.1e}{flag}")
    worst = max(rows, key=lambda row: row.error)
    bad = sum(row.error > TOLERANCE for row in rows)
    note = " (with Lucent's response normalisation)" if name == "inceptionv1" else ""
    click.echo(f"{name}: {len(rows)} layers{note}, {bad} above {TOLERANCE:.0e}; worst: {worst.name}, {worst.error:.1e}")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main(prog_name="python -m converters.parity")
