"""Which networks there are, and where their published weights come from."""

import dataclasses
import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens._checks import brief, check_path, suggest
from jaxlens.model import IMAGENET, INCEPTION, Preprocess
from jaxlens.modelzoo import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inceptionv3,
    maxvit,
    mnasnet,
    mobilenet,
    regnet,
    resnet,
    shufflenet,
    squeezenet,
    swin,
    vgg,
    vit,
)
from jaxlens.modelzoo.inceptionv1 import InceptionV1
from jaxlens.modelzoo.lensnet import CLASSES, PREPROCESS, LensNet

# torchvision's families; each module lists its networks by name in NETWORKS.
FAMILIES = (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    inceptionv3,
    maxvit,
    mnasnet,
    mobilenet,
    regnet,
    resnet,
    shufflenet,
    squeezenet,
    swin,
    vgg,
    vit,
)


@dataclasses.dataclass(frozen=True)
class Weights:
    """One published weights file: a torch state dict, or a file of ours that comes with the package.

    `url` is its address, or the name of the package's file. `digest` is "sha256:" and the first digits of the file's
    SHA-256 (torchvision puts them in the file name), or "gitblob:" and the git blob id of a file in a git repository.
    `mebibytes` is its size as torchvision publishes it, to three places.
    """

    name: str
    url: str
    digest: str
    preprocess: Preprocess = IMAGENET
    labels: str | None = "imagenet"
    input_size: tuple[int, int] = (224, 224)
    license: str | None = None  # where it is another than the network's
    mebibytes: float | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """How many bytes the file has at least and at most."""
        if self.mebibytes is None:
            return 0, 1 << 28
        return round((self.mebibytes - 0.001) * 2**20), round((self.mebibytes + 0.001) * 2**20)

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def bundled(self) -> Path | None:
        """The file, if it comes with the package."""
        return None if "/" in self.url else Path(__file__).parent / "weights" / self.url


@dataclasses.dataclass(frozen=True)
class Network:
    """One network; the first of its weights is the default. `build` takes the options of `modelzoo.load`."""

    name: str
    build: Callable[..., nnx.Module]
    parameters: int
    weights: tuple[Weights, ...]
    source: str
    outputs: int = 1000
    show: tuple[str, ...] = ()  # neurons worth seeing first

    @property
    def options(self) -> dict[str, Any]:
        """What `build` may be told, with its defaults."""
        build, bound = (self.build.func, self.build.keywords) if isinstance(self.build, functools.partial) else (self.build, {})
        # a module class itself shows the signature of Flax's metaclass
        parameters = inspect.signature(build.__init__ if isinstance(build, type) else build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in bound}

    def find(self, weights: Any) -> Weights | Path | None:
        """What `modelzoo.load` takes: a published file, a path, or None."""
        if weights is None:
            return None
        if isinstance(weights, os.PathLike):
            return check_path(weights, "weights")
        if not isinstance(weights, str) or not weights or "\0" in weights:
            raise TypeError(f"weights={brief(repr(weights), 60)} must be a name ({_listed(self.weights)}), a path, or None.")
        if weights == "DEFAULT":
            return self.weights[0]
        for known in self.weights:
            if known.name == weights:
                return known
        path = Path(weights).expanduser()
        if path.suffix or path.exists() or path.name != weights:
            return path
        near = suggest(weights, [known.name for known in self.weights])[0]
        raise LookupError(
            f"weights={weights!r} is not a set of weights of {self.name}. Closest: {near!r}. There are: 'DEFAULT', "
            f"{_listed(self.weights)}; or pass a path (.pth, .pt, .safetensors, .npz, .h5), or None for random weights."
        )


def _torchvision() -> dict[str, Network]:
    """torchvision's networks, with what `python -m tools.torchvision_table` found it to publish for them."""
    table = json.loads((Path(__file__).parent / "torchvision.json").read_text(encoding="utf-8"))
    source = "torchvision (BSD-3-Clause); weights trained on ImageNet, whose terms apply to them"
    networks = {}
    for family in FAMILIES:
        for name, build in family.NETWORKS.items():
            weights = tuple(_published(key, entry) for key, entry in table[name]["weights"].items())
            networks[name] = Network(name, build, table[name]["parameters"], weights, source)
    return dict(sorted(networks.items()))


def _published(name: str, entry: Mapping[str, Any]) -> Weights:
    stem = entry["file"].removesuffix(".pth")
    size = entry.get("input_size", 224)
    return Weights(
        name,
        f"https://download.pytorch.org/models/{entry['file']}",
        "sha256:" + stem.rpartition("-")[2],
        preprocess=Preprocess.mean_std(tuple(entry["mean"]), tuple(entry["std"])) if "mean" in entry else IMAGENET,
        labels=entry.get("labels", "imagenet"),
        input_size=(size, size),
        license=entry.get("license"),
        mebibytes=entry.get("mebibytes"),
    )


_INCEPTIONV1 = Network(
    "inceptionv1",
    InceptionV1,
    7_066_380,
    (
        Weights(
            "INCEPTION5H",
            # The address in lucent/modelzoo/inceptionv1; the blob id is git's for this file.
            "https://github.com/ProGamerGov/pytorch-old-tensorflow-models/raw/master/inception5h.pth",
            "gitblob:119f77db85c8352960933e025312b507d9a96ed7",
            preprocess=INCEPTION,
            labels="inceptionv1",
        ),
    ),
    "Google's inception5h (Apache-2.0), as a PyTorch file by ProGamerGov; trained on ImageNet",
    outputs=1008,
)

_LENSNET = Network(
    "lensnet",
    LensNet,
    936_919,
    (Weights("SYNTHETIC", "lensnet.safetensors", "", PREPROCESS, "lensnet", input_size=(64, 64)),),
    "jaxlens (Apache-2.0), trained by `python -m jaxlens.training.lensnet` on generated images; comes with the package",
    outputs=CLASSES,
    # edges and colours; stripes, dots and a boundary; rings, cells, opponent colours; an arch, a corner, a spiral, the letter A
    show=("conv2d2:2-5", "mixed3b:60,75,119,130", "mixed4b:5,65,100,137", "logits:10,24,32,65"),
)


@functools.cache
def networks() -> Mapping[str, Network]:
    """Every network by name: ours, Lucid's, torchvision's."""
    return {network.name: network for network in (_LENSNET, _INCEPTIONV1, *_torchvision().values())}


def find(name: Any) -> Network:
    """The network of that name, or an error that lists them."""
    if not isinstance(name, str):
        raise TypeError(f"name={brief(repr(name), 60)} must be one of `modelzoo.names()`, such as 'resnet50', or a path.")
    if name not in networks():
        closest, how = suggest(name, networks()), f"`modelzoo.names()` (or `jaxlens models`) lists all {len(networks())}"
        raise LookupError(f"name={name!r} is not in the model zoo. Closest: {closest}. {how}.")
    return networks()[name]


def names() -> tuple[str, ...]:
    """The names of all networks that `modelzoo.load` knows."""
    return tuple(networks())


def weights(name: Any) -> tuple[str, ...]:
    """The names of the published weights of a network, the default first."""
    return tuple(known.name for known in find(name).weights)


def _listed(weights: tuple[Weights, ...]) -> str:
    return ", ".join(repr(known.name) for known in weights)
