"""Parity with PyTorch, layer by layer in one process: `python -m tools.parity_table NAME`.

With `--all` it writes `docs/parity.md`.
"""

import contextlib
import time
import unittest.mock
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from converters import convert, read_state_dict
from converters._compare import TOLERANCE, Row, compare
from jaxlens import modelzoo
from jaxlens._files import atomic
from jaxlens.model import Model
from jaxlens.modelzoo import inceptionv1
from jaxlens.modelzoo._registry import find


def reference(name: str, weights: str | Path | None = None, *, seed: int = 0, **options: Any) -> Any:
    """Return the PyTorch network of that name in evaluation mode, torchvision's or Lucent's.

    Args:
        name: One of `modelzoo.names()`.
        weights: A state dict file. None stands for random weights and random batch-norm statistics,
            so that no mistake can hide.
        seed: The seed of the random weights.
        **options: Options of the network, as `modelzoo.load` takes them.
    """
    import torch

    if find(name).weights[0].bundled:
        raise LookupError(f"{name} is not from PyTorch: there is nothing to compare it with.")
    # The initialization is replaced, so it gets no memory. RegNet computes its widths with tensors.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        if name == "inceptionv1":
            from lucent.modelzoo import inceptionv1 as build

            module = build(pretrained=False, redirected_ReLU=False)
        else:
            from torchvision.models import get_model

            module = get_model(name, weights=None, **_torchvisions(name, dict(options)))
    module = module.to_empty(device="cpu").eval()
    if weights is None:
        _randomize(module, seed)
        _calibrate(module, options.get("image_size", 224 if "image_size" in find(name).options else 96))
    else:
        module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in read_state_dict(weights).items()})
    return module


def _torchvisions(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return our options under torchvision's names.

    They have the defaults that torchvision's builders change along with the weights.
    """
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": False, "init_weights": False} | options
    if name == "maxvit_t" and "image_size" in options:
        size = options.pop("image_size")
        return {"input_size": (size, size)} | options
    return options


def _randomize(module: Any, seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    # He's variance, and half of it for MaxViT. No norm holds its shortcuts, so that maps would grow
    # until rounding flips a sigmoid.
    gain = 3 if type(module).__name__ == "MaxVit" else 6
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            kind = key.rpartition(".")[2]
            if kind == "num_batches_tracked":
                tensor.zero_()
            elif not tensor.is_floating_point() or kind == "relative_coords_table":
                continue  # constants, computed below
            elif kind == "running_var" or (kind == "weight" and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:  # weights of about He's variance; biases and running means of about 0.1
                bound = (gain / tensor[0].numel()) ** 0.5 if kind.endswith("weight") else 0.2
                tensor.uniform_(-bound, bound, generator=generator)
    for child in module.modules():  # `to_empty` has lost the constants of Swin and MaxViT
        for define in ("define_relative_position_index", "define_relative_position_bias_table"):
            if hasattr(child, define) and (define.endswith("index") or "relative_coords_table" in child.state_dict()):
                getattr(child, define)()
        if type(child).__name__ == "RelativePositionalMultiHeadAttention":
            from torchvision.models import maxvit

            child.relative_position_index = maxvit._get_relative_position_index(child.size, child.size)


def _calibrate(module: Any, size: int) -> None:
    """Scale the random statistics of each batch norm to its inputs.

    Otherwise the values of deep networks grow without bound, and sigmoids and ReLU6s, which are
    steep by comparison, turn rounding errors into large ones.
    """
    import torch

    def scale(norm: Any, inputs: Any) -> None:
        deviation = inputs[0].std()
        norm.running_mean *= deviation
        norm.running_var *= deviation**2

    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(scale) for norm in norms]
    if norms:
        with torch.no_grad():
            module(4.5 * torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) - 2)
    for handle in handles:
        handle.remove()


def pair(
    name: str, weights: str | Path | None = None, *, size: tuple[int, int] = (64, 96), seed: int = 0, **options: Any
) -> tuple[Any, Model]:
    """Return PyTorch's network and ours with the same weights, for images of `Model.input_size`.

    InceptionV1 is given Lucent's constants of the local response normalization, since its own
    differ on purpose (see `jaxlens.modelzoo.inceptionv1`); `size` should be a multiple of 32 for
    it, as Lucent's padding is for even sizes. A network for images of one size takes `image_size`
    (224 by default) and not `size`; Inception v3 needs 75 pixels.
    """
    if "image_size" in find(name).options:
        options.setdefault("image_size", 224)
        size = (options["image_size"],) * 2
    elif name == "inception_v3":
        size = (max(size[0], 75), max(size[1], 75))
    module = reference(name, weights, seed=seed, **options)
    if name == "inceptionv1":
        network = inceptionv1.InceptionV1(lrn=inceptionv1.LUCENT_LRN)
    else:
        network = modelzoo.architecture(name, **options)
    model = Model.from_nnx(network, name=name, preprocess=find(name).weights[0].preprocess, input_size=size)
    state_dict = {key: value.numpy() for key, value in module.state_dict().items()}
    return module, model.replace(params=convert(state_dict, model))


def report(name: str, weights: str | Path | None = None, *, seed: int = 0, **options: Any) -> list[Row]:
    """Compare a network of the zoo with PyTorch's on two random images; options as in `pair`."""
    module, model = pair(name, weights, seed=seed, **options)
    images = jax.random.uniform(jax.random.key(seed), (2, *model.input_size, 3))
    if name != "inceptionv1":
        return compare(module, model.forward, model.params, model.preprocess(images))
    with _pooling_any_size():
        rows = compare(module, model.forward, model.params, model.preprocess(images))
    return [row for row in rows if row.name != "logits"]  # Lucent returns probabilities: softmax2, which is a layer


@contextlib.contextmanager
def _pooling_any_size() -> Iterator[None]:
    """Average whole maps. Lucent's head takes 7x7 maps only; for these it is the same."""
    import torch.nn.functional as F

    with unittest.mock.patch.object(F, "avg_pool2d", lambda x, **_: x.mean((2, 3), keepdim=True)):
        yield


def _size(_context: click.Context, _option: click.Option, value: str) -> tuple[int, int]:
    height, _, width = value.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise click.BadParameter(f"{value!r} must be HEIGHTxWIDTH, such as 64x96.")
    return int(height), int(width)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--all", "every", is_flag=True, help="All of torchvision's networks and InceptionV1; one line for each, and a table."
)
@click.option("--out", default="docs/parity.md", show_default=True, type=click.Path(path_type=Path), help="The table of --all.")
@click.option("--weights", type=click.Path(path_type=Path), help="A torch state dict; random weights and statistics otherwise.")
@click.option("--size", default="64x96", show_default=True, callback=_size, help="HEIGHTxWIDTH of the images.")
@click.option("--seed", default=0, show_default=True, help="Of the images and the random weights.")
def main(name: str | None, every: bool, out: Path, weights: Path | None, size: tuple[int, int], seed: int) -> None:
    """Compare every layer of NAME with the PyTorch network, and print a line for each.

    The error of a layer is the largest difference over the largest value in PyTorch. Exits with 1
    if any is above 1e-4.
    """
    if every == (name is not None) or (every and weights is not None):
        raise click.UsageError("Give the NAME of a network, or --all (without --weights).")
    try:
        good = _table(out, size, seed) if every else _network(str(name), weights, size, seed)
    except (ValueError, LookupError, OSError, ImportError) as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(not good)


def _network(name: str, weights: Path | None, size: tuple[int, int], seed: int) -> bool:
    rows = report(name, weights, size=size, seed=seed)
    wide = max(len(row.name) for row in rows)
    for row in rows:
        flag = "" if row.error <= TOLERANCE else "  <-- differs"
        click.echo(f"{row.name:{wide}}  {row.kind:16}  {'x'.join(map(str, row.shape)):>16}  {row.error:.1e}{flag}")
    worst, bad = _worst(rows)
    note = " (with Lucent's response normalization)" if name == "inceptionv1" else ""
    click.echo(f"{name}: {len(rows)} layers{note}, {bad} above {TOLERANCE:.0e}; worst: {worst.name}, {worst.error:.1e}")
    return not bad


def _worst(rows: list[Row]) -> tuple[Row, int]:
    return max(rows, key=lambda row: row.error), sum(row.error > TOLERANCE for row in rows)


_HEAD = """# Parity with PyTorch

Written by `python -m tools.parity_table --all`: jax {jax}, torch {torch}, torchvision
{torchvision}, on a CPU, float32 in `highest` precision. Every module that PyTorch runs is compared,
and the logits, on two random images of {size} pixels (Inception v3: 75x96; vision transformers and
MaxViT: 224x224), with random weights and random batch-norm statistics. The error is the largest
difference in the worst layer, relative to the layer's largest value. inceptionv1 is Lucent's, and
has Lucent's response normalization.

| model | layers compared | worst layer | relative error | parameters | seconds |
|---|---|---|---|---|---|
"""


def _table(out: Path, size: tuple[int, int], seed: int) -> bool:
    """Compare every network, and write the table after each. An interruption loses nothing."""
    names = [name for name in modelzoo.names() if not find(name).weights[0].bundled]
    torch, torchvision = metadata.version("torch"), metadata.version("torchvision")
    lines = _HEAD.format(jax=jax.__version__, torch=torch, torchvision=torchvision, size=f"{size[0]}x{size[1]}").splitlines()
    good = True
    for number, name in enumerate(names, 1):
        start = time.perf_counter()
        rows = report(name, size=size, seed=seed)
        worst, bad = _worst(rows)
        good &= not bad
        seconds = time.perf_counter() - start
        parameters = f"{modelzoo.info(name).parameters:,}"
        lines.append(f"| {name} | {len(rows)} | {worst.name} | {worst.error:.1e} | {parameters} | {seconds:.0f} |")
        with atomic(out) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        click.echo(
            f"{number}/{len(names)} {name}: {len(rows)} layers, {bad} above {TOLERANCE:.0e}; {worst.name} {worst.error:.1e}"
        )
        jax.clear_caches()  # programs for shapes that will not come again
    click.echo(f"{out}: {len(names)} networks, {'all' if good else 'NOT all'} layers within {TOLERANCE:.0e}")
    return good


if __name__ == "__main__":
    main(prog_name="python -m tools.parity_table")
