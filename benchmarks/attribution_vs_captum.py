"""Seconds per batch: jaxlens.attribution against captum, with equal networks, images and settings.

`python -m benchmarks.attribution_vs_captum [--batch 32] [--size 128] [--repeats 3] [--weights W]`

captum runs each method in the ways it offers and the fastest counts: contiguous and channels-last
tensors, one batch of samples at a time or two. jaxlens runs with its defaults. The values that both
find are compared first. What memory jaxlens needs with a `batch_size` is read from the compiled
program, for several numbers of samples.
"""

import argparse
import copy
import warnings
from typing import Any

import captum.attr
import jax
import numpy as np
import torch
import torchvision

from benchmarks import harness
from converters import convert
from jaxlens import attribution, modelzoo
from jaxlens.attribution import _batches
from jaxlens.attribution._query import ask
from jaxlens.attribution.gradient import _sums
from jaxlens.attribution.gradient._noise import Noisy

MEAN, STD = (torch.tensor(x).reshape(1, 3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Normalised(torch.nn.Module):
    """The network for images in [0, 1], as a Model takes them."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.net((x - MEAN) / STD)


def captums(net: torch.nn.Module, x: torch.Tensor, target: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the ways to run each method."""
    window, batch = options.size // 8, len(x)
    ways: dict[str, dict[str, Any]] = {"integrated gradients": {}, "SmoothGrad": {}, "occlusion": {}}
    for layout in (torch.contiguous_format, torch.channels_last):
        model, images = copy.deepcopy(net).to(memory_format=layout), x.clone().contiguous(memory_format=layout)
        name = str(layout).removeprefix("torch.").removesuffix("_format")
        gradients = captum.attr.IntegratedGradients(model)
        tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(model))
        hiding = captum.attr.Occlusion(model)
        for many in (1, 2):
            ways["integrated gradients"][f"{name}, {many * batch} at a time"] = (
                lambda gradients=gradients, images=images, many=many: gradients.attribute(
                    images, target=target, n_steps=options.steps, internal_batch_size=many * batch
                )
            )
            ways["SmoothGrad"][f"{name}, {many * batch} at a time"] = lambda tunnel=tunnel, images=images, many=many: (
                tunnel.attribute(
                    images, target=target, nt_samples=options.samples, nt_samples_batch_size=many, stdevs=0.15, abs=False
                )
            )
            ways["occlusion"][f"{name}, {many * batch} at a time"] = lambda hiding=hiding, images=images, many=many: (
                hiding.attribute(images, (3, window, window), (3, window, window), target=target, perturbations_per_eval=many)
            )
    return ways


def ours(model: Any, images: np.ndarray, target: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the call of each method."""
    window, quiet = options.size // 8, {"progress": False}
    return {
        "integrated gradients": lambda: attribution.integrated_gradients(
            model, images, target, steps=options.steps, tolerance=None, **quiet
        ),
        "SmoothGrad": lambda: attribution.smooth_grad(
            model, images, target, samples=options.samples, sigma=0.15, relative=False, **quiet
        ),
        "occlusion": lambda: attribution.occlusion(model, images, target, window=window, stride=window, **quiet),
    }


def memory(model: Any, images: np.ndarray, batch_size: int) -> dict[int, int]:
    """Return the bytes that a step of SmoothGrad needs besides its arguments, by samples."""
    query = ask(model, images, 0)
    state = _sums.Totals(first=jax.numpy.zeros_like(query.values), second=None)
    found = {}
    for samples in (4, 64, 1024):
        sigma = jax.numpy.float32(0.1)
        noise = Noisy(key=jax.random.key(0), sigma=sigma, samples=jax.numpy.asarray(samples), relative=False, most=2)
        step = _sums._STEPS["gradient"]
        lowered = _batches._compiled.lower(step, batch_size, True, query, noise, samples, 0, state)
        found[samples] = lowered.compile().memory_analysis().temp_size_in_bytes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="of integrated gradients")
    parser.add_argument("--samples", type=int, default=10, help="of SmoothGrad")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", help="a state dict of squeezenet1_1; random weights otherwise")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1()
    if options.weights:
        net.load_state_dict(torch.load(options.weights, weights_only=True))
    net = Normalised(net).eval().requires_grad_(False)
    model = modelzoo.load("squeezenet1_1", weights=None)
    model = model.replace(params=convert(net.net.state_dict(), modelzoo.architecture("squeezenet1_1")))
    images = np.asarray(jax.random.uniform(jax.random.key(0), (options.batch, options.size, options.size, 3)))
    x, target = torch.tensor(images).permute(0, 3, 1, 2).contiguous(), 3
    theirs, mine = captums(net, x, target, options), ours(model, images, target, options)
    rows = []
    for name, ways in theirs.items():
        first = next(iter(ways.values()))().detach().permute(0, 2, 3, 1).numpy()
        found = np.broadcast_to(np.asarray(mine[name]().values), first.shape)
        error = float(np.linalg.norm(found - first) / np.linalg.norm(first))
        calls = {way: lambda call=call: call() for way, call in ways.items()}
        calls["jaxlens"] = lambda name=name: jax.block_until_ready(mine[name]().values)
        times = harness.compare(calls, options.repeats)
        best = min((way for way in ways), key=lambda way: times[way]["median"])
        ratio = times[best]["median"] / times["jaxlens"]["median"]
        rows.append({"method": name, "ratio": ratio, "captum": best, "difference": error, "seconds": times})
        seconds = f"captum {times[best]['median']:.2f} s ({best}), jaxlens {times['jaxlens']['median']:.2f} s"
        print(f"{name}: {seconds}, {ratio:.2f}x; values differ by {error:.1e} (SmoothGrad's noise is another)", flush=True)
    needs = memory(model, images, 16)
    print("bytes of one step of 16 evaluations, by samples:", needs)
    settings = vars(options) | {"memory": needs}
    print(harness.record(f"attribution_vs_captum_{jax.devices()[0].platform}", rows, **settings))


if __name__ == "__main__":
    main()
